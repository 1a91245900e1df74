#!/usr/bin/env python3
"""name-server.py ADDRESS BEHAVIOUR NAME=ADDRESS[,ADDRESS]...: a DNS server (RFC 1035) that misbehaves on purpose.

BEHAVIOUR: ok, no-aaaa (questions for IPv6 are lost), servfail, slow (answers after 1 s).
"""
import socket, struct, sys, time

address, behaviour = sys.argv[1], sys.argv[2]
names = {name: addresses.split(',') for name, addresses in (one.split('=') for one in sys.argv[3:])}
A, AAAA = 1, 28


def answer(question):
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode())
        at += 1 + question[at]
    kind, = struct.unpack('!H', question[at + 1:at + 3])
    if behaviour == 'no-aaaa' and kind == AAAA:
        return None
    known = names.get('.'.join(labels).lower())
    family = socket.AF_INET6 if kind == AAAA else socket.AF_INET
    found = [one for one in known or [] if (':' in one) == (kind == AAAA)] if kind in (A, AAAA) else []
    code = 2 if behaviour == 'servfail' else 3 if known is None else 0
    if code:
        found = []
    records = b''.join(b'\xc0\x0c' + struct.pack('!HHIH', kind, 1, 60, len(data)) + data
                       for data in (socket.inet_pton(family, one) for one in found))
    return question[:2] + struct.pack('!HHHHH', 0x8180 | code, 1, len(found), 0, 0) + question[12:at + 5] + records


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((address, 53))
print('ready', flush=True)
while True:
    data, sender = server.recvfrom(512)
    reply = answer(data)
    if behaviour == 'slow':
        time.sleep(1)
    if reply:
        server.sendto(reply, sender)
