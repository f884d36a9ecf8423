// Who looks at a page that everybody may see, and the shell around it.
import { call, type Me, type Session, type Site } from './api';
import { drawShell } from './shell';

export interface Visitor {
  site: Site;
  session: Session;
}

/** Asks who that is, and draws header and footer; the balance joins them a moment later. */
export async function welcome(): Promise<Visitor> {
  const [site, session] = await Promise.all([call<Site>('GET', '/site'), call<Session>('GET', '/session')]);
  drawShell({ site, session, budget: null });
  if (session.user) {
    call<Me>('GET', '/me').then(
      ({ budget }) => drawShell({ site, session, budget }),
      () => undefined,  // the page does without
    );
  }
  return { site, session };
}
