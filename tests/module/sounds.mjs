// Sounds and forms as the suites of this folder send them.

/// A WAV file of silence: 8 kHz, 8 bit, one channel, so 8 bytes a millisecond.
export function silence(ms) {
  const bytes = ms * 8;
  const wav = Buffer.alloc(44 + bytes, 0x80);
  wav.write('RIFF', 0);
  wav.writeUInt32LE(36 + bytes, 4);
  wav.write('WAVEfmt ', 8);
  wav.writeUInt32LE(16, 16);
  wav.writeUInt16LE(1, 20);
  wav.writeUInt16LE(1, 22);
  wav.writeUInt32LE(8000, 24);
  wav.writeUInt32LE(8000, 28);
  wav.writeUInt16LE(1, 32);
  wav.writeUInt16LE(8, 34);
  wav.write('data', 36);
  wav.writeUInt32LE(bytes, 40);
  return wav;
}

const BOUNDARY = 'a-boundary-0123456789';

/// A multipart body of [name, value] pairs in that order; a Buffer is a file. For fetch: {body, headers}.
export function form(fields, boundary = BOUNDARY) {
  const parts = fields.flatMap(([name, value]) => [
    Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${name}"${Buffer.isBuffer(value) ? '; filename="sound.wav"\r\nContent-Type: audio/wav' : ''}\r\n\r\n`),
    Buffer.from(value), Buffer.from('\r\n'),
  ]);
  return {
    body: Buffer.concat([...parts, Buffer.from(`--${boundary}--\r\n`)]),
    headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
  };
}
