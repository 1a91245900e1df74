import { SeededRandom } from '@towpath/core';
import { VirtualClock } from '@towpath/core/testing';
import { SimulatedInternet } from '@towpath/net/simulated';
import { describe, expect, test } from 'vitest';
import { SharedPortNetwork } from '../src/emulator/network/shared-port-network.ts';

function world() {
  const clock = new VirtualClock();
  const internet = new SimulatedInternet({ clock, random: new SeededRandom(1) });
  const lan = internet.lan({});
  const host = lan.host();
  return { clock, internet, host, other: lan.host(), shared: new SharedPortNetwork(host.network, 32108) };
}

describe('a UDP port that several emulated cameras share (B11)', () => {
  test('gives every member every datagram, each a copy of its own', async () => {
    const { clock, internet, host, other, shared } = world();
    const heard: Uint8Array[] = [];
    const member = () => shared.bindUdp({ port: 32108, onMessage: (data) => heard.push(data.fill(data[0]! + 1)) });
    const sockets = [await member(), await member()];
    const sender = await other.network.bindUdp({ onMessage() {} });
    sender.send(new Uint8Array([1, 1]), { address: host.address, port: 32108 });
    await clock.advance(10);
    expect(heard).toEqual([new Uint8Array([2, 2]), new Uint8Array([2, 2])]);
    await sockets[0]!.close();
    sender.send(new Uint8Array([5]), { address: host.address, port: 32108 });
    await clock.advance(10);
    expect(heard).toHaveLength(3);
    await sockets[1]!.close();
    await sender.close();
    expect(internet.openSockets).toBe(0);
  });

  test('leaves other ports alone', async () => {
    const { shared } = world();
    await shared.bindUdp({ port: 5000, onMessage() {} });
    await expect(shared.bindUdp({ port: 5000, onMessage() {} })).rejects.toMatchObject({ code: 'address-in-use' });
  });

  test('is free again after the last member, after a failure and after an abort', async () => {
    const { internet, host, shared } = world();
    const squatter = await host.network.bindUdp({ port: 32108, onMessage() {} });
    await expect(shared.bindUdp({ port: 32108, onMessage() {} })).rejects.toMatchObject({ code: 'address-in-use' });
    await squatter.close();
    const controller = new AbortController();
    const socket = await shared.bindUdp({ port: 32108, onMessage() {}, signal: controller.signal });
    expect(socket.local.port).toBe(32108);
    controller.abort();
    await new Promise(setImmediate);
    expect(internet.openSockets).toBe(0);
    const late = shared.bindUdp({ port: 32108, onMessage() {}, signal: controller.signal });
    await expect(late).rejects.toMatchObject({ name: 'AbortError' });
    const pending = new AbortController();
    const binding = shared.bindUdp({ port: 32108, onMessage() {}, signal: pending.signal });
    pending.abort();
    await expect(binding).rejects.toMatchObject({ name: 'AbortError' });
    expect(internet.openSockets).toBe(0);
  });
});
