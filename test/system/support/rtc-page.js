// Runs inside a browser page: pairs of peer connections that talk over a relay alone. Plain JavaScript, because the
// tree's types know no browser.
const pairs = {};

/** Connects two peer connections of this page. Returns the relayed addresses that they offered. */
globalThis.connectPair = async (name, url) => {
  const iceServers = [{ urls: url, username: 'ann', credential: 'secret' }];
  const [a, b] = [0, 1].map(() => new RTCPeerConnection({ iceServers, iceTransportPolicy: 'relay' }));
  const addresses = [];
  const errors = [];
  for (const [from, to] of [
    [a, b],
    [b, a],
  ]) {
    from.onicecandidateerror = ({ errorCode, errorText, address, url: asked }) =>
      errors.push(`${asked} from ${address}: ${errorCode} ${errorText}`);
    from.onicecandidate = ({ candidate }) => {
      if (!candidate?.candidate) return;
      addresses.push(candidate.candidate.split(' ')[4]);
      void to.addIceCandidate(candidate);
    };
  }
  const echoes = [];
  b.ondatachannel = ({ channel }) => {
    channel.onmessage = ({ data }) => channel.send(`echo ${data}`);
  };
  const channel = a.createDataChannel('test');
  channel.onmessage = ({ data }) => echoes.push(data);
  const open = new Promise((resolve, reject) => {
    channel.onopen = () => resolve();
    setTimeout(
      () => reject(new Error(`not open: ${a.iceConnectionState}; ${addresses.join(' ')}; ${errors.join(', ')}`)),
      30_000,
    );
  });
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription(a.localDescription);
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription(b.localDescription);
  await open;
  pairs[name] = { channel, echoes };
  return addresses;
};

/** Sends over the channel of a pair and returns the answer. */
globalThis.echo = async (name, text) => {
  const { channel, echoes } = pairs[name];
  const before = echoes.length;
  channel.send(text);
  for (let tries = 0; tries < 200 && echoes.length === before; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return echoes.at(-1) ?? 'nothing';
};
