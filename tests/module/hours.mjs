// Wallets are refilled as an hour begins, whatever a test is doing just then.
const hourNow = () => Math.floor(Date.now() / 3_600_000);

/// Does it again, from its own beginning, if it failed while an hour began.
export async function withinAnHour(work) {
  const hour = hourNow();
  try {
    await work();
  } catch (error) {
    if (hourNow() === hour) throw error;
    await work();
  }
}
