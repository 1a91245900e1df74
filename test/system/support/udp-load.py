"""Sends or counts UDP datagrams, for tests of data planes.

send FROM FROM_PORT TO TO_PORT COUNT BYTES PER_SECOND PREFIX [none]: the payload begins with these bytes, in hexadecimal; none:
  without checksums, IPv4 only
count ADDRESS PORT: at SIGTERM prints {"packets", "bytes", "sources": {"address:port": packets}}
"""
import json
import signal
import socket
import sys
import time

SO_NO_CHECK = 11
SO_RCVBUFFORCE = 33


def sock(address, port):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 25)
    made.bind((address, int(port)))
    return made


def send(source, source_port, to, to_port, count, size, per_second, prefix, checksum=""):
    s = sock(source, source_port)
    if checksum == "none":
        s.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
    data = bytes.fromhex(prefix).ljust(int(size), b"x")
    start = time.monotonic()
    for n in range(int(count)):
        wait = start + n / float(per_second) - time.monotonic()
        if wait > 0.001:
            time.sleep(wait)
        s.sendto(data, (to, int(to_port)))
    end = time.monotonic()
    print(json.dumps({"sent": int(count), "tookS": end - start, "startS": start, "endS": end}))


def count(address, port):
    s = sock(address, port)
    packets, size, sources = 0, 0, {}
    ending = []
    signal.signal(signal.SIGTERM, lambda *_: ending.append(True))
    print("ready", flush=True)
    s.settimeout(0.1)
    silent = 0
    while True:
        try:
            data, source = s.recvfrom(65536)
        except TimeoutError:
            # A relay in user space may be behind when the sender has ended.
            silent += 1
            if ending and silent >= 5:
                break
            continue
        silent = 0
        packets += 1
        size += len(data)
        name = "%s:%d" % source[:2]
        sources[name] = sources.get(name, 0) + 1
    print(json.dumps({"packets": packets, "bytes": size, "sources": sources}))


{"send": send, "count": count}[sys.argv[1]](*sys.argv[2:])
