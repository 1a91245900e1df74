import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeUapiAnswer, encodeUapiSet, MAX_UAPI_BYTES } from '../../src/wireguard/uapi.ts';

const KEY = Uint8Array.from({ length: 32 }, (_, at) => at);
const KEY_HEX = Buffer.from(KEY).toString('hex');

describe('encodeUapiSet', () => {
  it('writes an interface and a peer as the UAPI describes them', () => {
    const text = encodeUapiSet({
      privateKey: KEY,
      listenPort: 51_820,
      replacePeers: true,
      peers: [
        {
          publicKey: KEY,
          updateOnly: true,
          presharedKey: KEY,
          endpoint: { address: '2001:db8::1', port: 40_000 },
          persistentKeepaliveSeconds: 25,
          allowedIps: ['10.66.0.7/32'],
        },
        { publicKey: KEY, remove: true, allowedIps: ['10.66.0.8/32'] },
      ],
    });
    expect(text).toBe(
      [
        'set=1',
        `private_key=${KEY_HEX}`,
        'listen_port=51820',
        'replace_peers=true',
        `public_key=${KEY_HEX}`,
        'update_only=true',
        `preshared_key=${KEY_HEX}`,
        'endpoint=[2001:db8::1]:40000',
        'persistent_keepalive_interval=25',
        'replace_allowed_ips=true',
        'allowed_ip=10.66.0.7/32',
        `public_key=${KEY_HEX}`,
        'remove=true',
        '',
        '',
      ].join('\n'),
    );
  });

  it.each([
    ['a short key', { privateKey: KEY.subarray(1) }],
    ['a port that is too large', { listenPort: 65_536 }],
    ['an endpoint that is a name', { peers: [{ publicKey: KEY, endpoint: { address: 'host', port: 1 } }] }],
    [
      'an endpoint with a line break',
      { peers: [{ publicKey: KEY, endpoint: { address: '192.0.2.1\nprivate_key=0', port: 1 } }] },
    ],
    ['a network with a line break', { peers: [{ publicKey: KEY, allowedIps: ['10.0.0.0/8\nremove=true'] }] }],
  ])('refuses %s', (_, change) => {
    expect(() => encodeUapiSet(change)).toThrow(RangeError);
  });
});

describe('decodeUapiAnswer', () => {
  it('reads the peers, keeps no secrets and skips unknown keys', () => {
    const answer = decodeUapiAnswer(
      [
        `private_key=${KEY_HEX}`,
        'listen_port=51820',
        'new_field=1',
        `public_key=${KEY_HEX}`,
        `preshared_key=${'0'.repeat(64)}`,
        'protocol_version=1',
        'endpoint=192.0.2.1:40000',
        'last_handshake_time_sec=1700000000',
        'last_handshake_time_nsec=250000000',
        'tx_bytes=10',
        'rx_bytes=20',
        'persistent_keepalive_interval=0',
        'allowed_ip=10.66.0.7/32',
        'errno=0',
        '',
        '',
      ].join('\n'),
    );
    expect(answer).toEqual({
      ok: true,
      device: {
        listenPort: 51_820,
        peers: [
          {
            publicKey: KEY,
            endpoint: { address: '192.0.2.1', port: 40_000 },
            allowedIps: ['10.66.0.7/32'],
            lastHandshakeMs: 1_700_000_000_250,
            receivedBytes: 20,
            sentBytes: 10,
            persistentKeepaliveSeconds: 0,
          },
        ],
      },
    });
  });

  it('says why an operation was refused', () => {
    expect(decodeUapiAnswer('errno=-22\n\n')).toEqual({ ok: false, reason: 'refused', errno: 22 });
    expect(decodeUapiAnswer('errno=98\n\n')).toEqual({ ok: false, reason: 'refused', errno: 98 });
  });

  it.each([
    ['', 'malformed'],
    ['listen_port=1\n\n', 'malformed'],
    ['listen_port=70000\nerrno=0\n\n', 'malformed'],
    ['public_key=00\nerrno=0\n\n', 'malformed'],
    [`public_key=${KEY_HEX}\nrx_bytes=99999999999999999999\nerrno=0\n\n`, 'malformed'],
    [`public_key=${KEY_HEX}\nendpoint=nowhere\nerrno=0\n\n`, 'malformed'],
    [' '.repeat(MAX_UAPI_BYTES + 1), 'too-long'],
    [`${`public_key=${KEY_HEX}\n`.repeat(4_097)}errno=0\n\n`, 'too-many-peers'],
  ])('refuses a bad answer (%#)', (text, reason) => {
    expect(decodeUapiAnswer(text)).toMatchObject({ ok: false, reason });
  });

  it('never throws', () => {
    const keys = fc.constantFrom(
      'errno',
      'listen_port',
      'public_key',
      'endpoint',
      'allowed_ip',
      'rx_bytes',
      'tx_bytes',
      'last_handshake_time_sec',
      'private_key',
      'x',
    );
    const values = fc.oneof(
      fc.string(),
      fc.nat().map(String),
      fc.constantFrom(KEY_HEX, '192.0.2.1:5', '10.0.0.0/8', '0', '-1'),
    );
    const line = fc.oneof(
      fc.tuple(keys, values).map(([key, value]) => `${key}=${value}`),
      fc.string(),
    );
    fc.assert(
      fc.property(fc.array(line, { maxLength: 30 }), (lines) => {
        const answer = decodeUapiAnswer(`${lines.join('\n')}\nerrno=0\n\n`);
        if (answer.ok) for (const peer of answer.device.peers) expect(peer.publicKey).toHaveLength(32);
      }),
    );
  });
});
