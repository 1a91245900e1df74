"""A TCP transfer through the tunnel: `recv ADDRESS PORT` prints one JSON line at the end, `send ADDRESS PORT` sends
numbered blocks at a steady rate until it gets SIGTERM; `send ADDRESS PORT BLOCKS` so many as fast as it can. Ends with an error when the connection breaks or a block is not the expected one."""
import json
import signal
import socket
import struct
import sys
import time

mode, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
BLOCK = 8192

if mode == 'recv':
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((address, port))
    server.listen(1)
    print('listening', flush=True)
    peer, _ = server.accept()
    peer.settimeout(120)
    count, rest, gap, last = 0, b'', 0.0, time.monotonic()
    while True:
        data = peer.recv(65536)
        now = time.monotonic()
        gap, last = max(gap, now - last), now
        if not data:
            break
        rest += data
        while len(rest) >= BLOCK:
            if struct.unpack('>Q', rest[:8])[0] != count:
                sys.exit('block %d is another one' % count)
            count, rest = count + 1, rest[BLOCK:]
    print(json.dumps({'blocks': count, 'longestGapMs': round(gap * 1000)}), flush=True)
else:
    sender = socket.create_connection((address, port), 10)
    sender.settimeout(60)
    over = []
    signal.signal(signal.SIGTERM, lambda *_: over.append(True))
    count = 0
    try:
        limit = int(sys.argv[4]) if len(sys.argv) > 4 else None
        while not over and count != limit:
            sender.sendall(struct.pack('>Q', count) + bytes(BLOCK - 8))
            count += 1
            if limit is None:
                time.sleep(0.02)
    finally:
        sender.close()
    print(json.dumps({'blocks': count}), flush=True)
