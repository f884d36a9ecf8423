"""http3_client.py PORT CA KEY [LEAVE]: POSTs standard input as a chat completion over HTTP/3 to localhost, and prints the
answer as JSON: status, headers, body. LEAVE: after that many bytes of the answer the stream is given up."""

import asyncio
import json
import sys

from aioquic.asyncio import QuicConnectionProtocol, connect
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import ConnectionTerminated, StreamReset

H3_REQUEST_CANCELLED = 0x10C


class Client(QuicConnectionProtocol):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.http = H3Connection(self._quic)
        self.headers = {}
        self.body = b""
        self.leave = None
        self.ended = asyncio.get_running_loop().create_future()

    def post(self, key, body):
        self.stream = self._quic.get_next_available_stream_id()
        self.http.send_headers(self.stream, [
            (b":method", b"POST"), (b":scheme", b"https"), (b":authority", b"localhost"), (b":path", b"/v1/chat/completions"),
            (b"authorization", b"Bearer " + key.encode()), (b"content-type", b"application/json"),
        ])
        self.http.send_data(self.stream, body, end_stream=True)
        self.transmit()

    def end(self, how):
        if not self.ended.done():
            self.ended.set_result(how)

    def quic_event_received(self, event):
        if isinstance(event, (ConnectionTerminated, StreamReset)):
            self.end("cut")
        for told in self.http.handle_event(event):
            if isinstance(told, HeadersReceived):
                self.headers.update((name.decode(), value.decode()) for name, value in told.headers)
            elif isinstance(told, DataReceived):
                self.body += told.data
            if getattr(told, "stream_ended", False):
                self.end("whole")
        if self.leave is not None and len(self.body) >= self.leave and not self.ended.done():
            self._quic.stop_stream(self.stream, H3_REQUEST_CANCELLED)
            self.transmit()
            self.end("left")


async def main(port, ca, key, leave=None):
    configuration = QuicConfiguration(is_client=True, alpn_protocols=H3_ALPN, server_name="localhost")
    configuration.load_verify_locations(ca)
    async with connect("127.0.0.1", int(port), configuration=configuration, create_protocol=Client) as client:
        client.leave = None if leave is None else int(leave)
        client.post(key, sys.stdin.buffer.read())
        ended = await asyncio.wait_for(client.ended, 60)
        await client.ping()  # what was said last has arrived
        status = int(client.headers.get(":status", 0))
        print(json.dumps({"ended": ended, "status": status, "headers": client.headers, "body": client.body.decode()}))


asyncio.run(main(*sys.argv[1:]))
