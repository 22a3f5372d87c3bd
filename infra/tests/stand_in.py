"""Stand-ins for Azure's storage: they answer as the services do, as far as the worker asks here, and hold no more than the tests tell them."""

import base64
import datetime
import http.server
import threading
import urllib.parse

# The key that Azurite's documentation gives to everybody.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


def connection_string(port):
    """Of the account that a stand-in at this port has."""
    endpoint = f"http://127.0.0.1:{port}/devstoreaccount1"
    return f"DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey={KEY};BlobEndpoint={endpoint};QueueEndpoint={endpoint};"


def serve(handler):
    """A server in a thread of its own; whoever asked for it shuts it down."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class StandIn(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, body=b"", status=200, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "x-ms-version": "2023-11-03", "Content-Type": "application/xml", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class StorageQueue(StandIn):
    """Gives out the messages that `waiting` holds, once each, and counts those of the poison queue."""

    waiting, poison, lock = [], 0, threading.Lock()

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path)
        if "comp=metadata" in path.query:
            count = self.poison if path.path.endswith("-poison") else len(self.waiting)
            return self.answer(x_ms_approximate_messages_count=str(count))
        with self.lock:
            given, self.waiting[:] = list(self.waiting), []
        stamp = "%a, %d %b %Y %H:%M:%S GMT"
        soon = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).strftime(stamp)
        rows = "".join(
            f"<QueueMessage><MessageId>{number}</MessageId><InsertionTime>{inserted.strftime(stamp)}</InsertionTime><ExpirationTime>{soon}</ExpirationTime>"
            f"<PopReceipt>receipt</PopReceipt><TimeNextVisible>{soon}</TimeNextVisible><DequeueCount>1</DequeueCount>"
            f"<MessageText>{base64.b64encode(body).decode()}</MessageText></QueueMessage>"
            for number, (inserted, body) in enumerate(given)
        )
        return self.answer(f'<?xml version="1.0" encoding="utf-8"?><QueueMessagesList>{rows}</QueueMessagesList>'.encode())

    def do_DELETE(self):
        self.answer(status=204)


class StorageBlobs(StandIn):
    """Containers without a blob, which take what is written. Of `away` nobody is let in."""

    away = set()

    def asked(self):
        """The container, and what of it."""
        path = urllib.parse.urlsplit(self.path)
        return path.path.split("/")[2], urllib.parse.parse_qs(path.query)

    def refused(self):
        container, _ = self.asked()
        if container in self.away:
            self.answer(status=403, x_ms_error_code="AuthorizationPermissionMismatch")
        return container in self.away

    def do_GET(self):
        _, query = self.asked()
        if self.refused():
            return None
        if query.get("comp") == ["list"]:
            return self.answer(b'<?xml version="1.0" encoding="utf-8"?><EnumerationResults><Blobs/><NextMarker/></EnumerationResults>')
        if query.get("restype") == ["container"]:
            return self.answer(ETag='"0x1"', Last_Modified="Mon, 30 Nov 2026 00:00:00 GMT")
        return self.answer(status=404, x_ms_error_code="BlobNotFound")

    do_HEAD = do_GET

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.refused():
            self.answer(status=201, ETag='"0x1"', Last_Modified="Mon, 30 Nov 2026 00:00:00 GMT")
