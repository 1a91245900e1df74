"""Datagrams as text. `listen PORT [answer]` prints each as `TEXT from ADDRESS to ADDRESS`; with `answer` it sends it back.
`send ADDRESS PORT TEXT SOURCE TIMES` sends it so often, and prints what comes back within two seconds."""
import socket
import sys
import time

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if sys.argv[1] == 'listen':
    s.setsockopt(socket.IPPROTO_IP, 8, 1)
    s.bind(('', int(sys.argv[2])))
    print('listening', flush=True)
    while True:
        data, info, _, source = s.recvmsg(2000, 256)
        print(data.decode(), 'from', source[0], 'to', socket.inet_ntoa(info[0][2][8:12]), flush=True)
        if len(sys.argv) > 3:
            s.sendto(data, source)
else:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    s.bind((sys.argv[5], 0))
    s.settimeout(2)
    for _ in range(int(sys.argv[6])):
        s.sendto(sys.argv[4].encode(), (sys.argv[2], int(sys.argv[3])))
        time.sleep(0.1)
    try:
        print('back:', s.recv(2000).decode())
    except OSError:
        pass
