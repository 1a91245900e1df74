"""A TCP flow as fast as it goes.

recv ADDRESS PORT: takes one connection after the other; after each prints {"bytes", "seconds"}
send ADDRESS PORT SECONDS: sends for so long
"""
import json
import socket
import sys
import time

BLOCK = bytes(1 << 18)

mode, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if mode == "recv":
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(8)
    print("listening", flush=True)
    while True:
        peer, _ = server.accept()
        buffer = bytearray(1 << 18)
        start, size = time.monotonic(), 0
        while True:
            came = peer.recv_into(buffer)
            if came == 0:
                break
            size += came
        print(json.dumps({"bytes": size, "seconds": time.monotonic() - start}), flush=True)
else:
    sender = socket.create_connection((address, port), 10)
    until = time.monotonic() + float(sys.argv[4])
    while time.monotonic() < until:
        sender.sendall(BLOCK)
    sender.close()
