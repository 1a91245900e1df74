"""Makes the kernel complete UDP checksums itself before a device gets a packet: checksums.py off DEVICE (ethtool -K DEVICE tx off)"""
import array
import fcntl
import socket
import struct
import sys

SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17

_, value, device = sys.argv
command = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0 if value == "off" else 1))
address, _ = command.buffer_info()
request = struct.pack("16sP", device.encode(), address)
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), SIOCETHTOOL, request)
