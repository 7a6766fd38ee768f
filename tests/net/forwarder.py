"""A wire that can be hurt: packets between two TUN devices of its making, one of which is then moved into another network namespace. It
stands in for `tc netem`, which not every kernel has.

forwarder.py DEVICE DEVICE: says "ready", and after every command read from its standard input, one a line:
  delay MS     of each packet
  loss PERCENT of all packets, by dice that fall alike each time
  rate BITS    a second, each way; 0: any
  cut          drops everything
  mend         no longer
It ends with its standard input."""
import collections
import fcntl
import os
import random
import selectors
import struct
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
PACKET_BYTES_MAX = 1 << 16
QUEUED_BYTES_MAX = 1 << 18  # each way, beyond which packets are dropped
AT_ONCE = 64  # packets read before others are looked after


def open_tun(name):
    handle = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(handle, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return handle


class Way:
    """The packets from one device to the other."""

    def __init__(self, wire, source, sink):
        self.wire, self.source, self.sink = wire, source, sink
        self.queue = collections.deque()  # (due, packet), in order
        self.queued_bytes = 0
        self.free_at = 0.0  # when the packets before have been sent, at the wire's rate

    def take(self):
        for _ in range(AT_ONCE):
            try:
                packet = os.read(self.source, PACKET_BYTES_MAX)
            except BlockingIOError:
                return
            wire, now = self.wire, time.monotonic()
            if wire.cut or wire.dice.random() * 100 < wire.loss or self.queued_bytes > QUEUED_BYTES_MAX:
                continue
            self.free_at = max(self.free_at, now) + (8 * len(packet) / wire.rate if wire.rate else 0)
            self.queue.append((self.free_at + wire.delay, packet))
            self.queued_bytes += len(packet)

    def give(self):
        """What is due; answers when the next is, or None."""
        while self.queue:
            due, packet = self.queue[0]
            if due > time.monotonic():
                return due
            self.queue.popleft()
            self.queued_bytes -= len(packet)
            try:
                os.write(self.sink, packet)
            except OSError:
                pass  # The device is down: as good as lost.
        return None


class Wire:
    def __init__(self, names):
        self.delay, self.loss, self.rate, self.cut = 0.0, 0.0, 0.0, False
        self.dice = random.Random(1)
        one, other = (open_tun(name) for name in names)
        self.ways = (Way(self, one, other), Way(self, other, one))

    def obey(self, words):
        if words[0] in ("cut", "mend"):
            self.cut = words[0] == "cut"
        elif words[0] == "delay":
            self.delay = float(words[1]) / 1000
        elif words[0] == "loss":
            self.loss = float(words[1])
        elif words[0] == "rate":
            self.rate = float(words[1])
        else:
            raise ValueError(f"no such command: {' '.join(words)}")

    def run(self):
        with selectors.DefaultSelector() as selector:
            for way in self.ways:
                selector.register(way.source, selectors.EVENT_READ, way)
            selector.register(sys.stdin, selectors.EVENT_READ, None)
            print("ready", flush=True)
            while True:
                due = [moment for moment in [way.give() for way in self.ways] if moment is not None]
                wait = max(0.0, min(due) - time.monotonic()) if due else None
                for key, _ in selector.select(wait):
                    if key.data is not None:
                        key.data.take()
                        continue
                    line = sys.stdin.readline()
                    if not line:
                        return
                    self.obey(line.split())
                    print("ready", flush=True)


if __name__ == "__main__":
    Wire(sys.argv[1:3]).run()
