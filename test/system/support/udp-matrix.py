"""Sends a datagram from each of its ports to each port of a relay, and says what came to which of its ports.

ADDRESS FIRST LAST RELAY FIRST LAST: on the line "go" sends; on "stop" prints [[text, source, port it came to], …], where the text
names the sender and whom it sent to.
"""
import json
import selectors
import socket
import sys
import time

address, first, last, relay, relay_first, relay_last = sys.argv[1:7]
sockets = []
selector = selectors.DefaultSelector()
for port in range(int(first), int(last) + 1):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 33, 1 << 22)  # SO_RCVBUFFORCE
    s.bind((address, port))
    s.setblocking(False)
    sockets.append((port, s))
    selector.register(s, selectors.EVENT_READ, port)
selector.register(sys.stdin, selectors.EVENT_READ, None)
print("ready", flush=True)
seen = []
while True:
    for key, _ in selector.select():
        if key.data is None:
            line = sys.stdin.readline().strip()
            if line == "go":
                for port, s in sockets:
                    for to in range(int(relay_first), int(relay_last) + 1):
                        s.sendto(f"{address}:{port} {relay}:{to}".encode(), (relay, to))
                    time.sleep(0.002)
            elif line == "stop":
                print(json.dumps(seen), flush=True)
                seen = []
            else:
                sys.exit(0)
            continue
        try:
            data, source = key.fileobj.recvfrom(2048)
        except BlockingIOError:
            continue
        seen.append([data.decode(errors="replace"), "%s:%d" % source, key.data])
