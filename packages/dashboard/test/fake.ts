/** `npm run fake`: serves the built page on made-up data until it is interrupted. `PEERS` and `PICTURES` set the size. */
import { pageFolder } from '../src/page-folder.ts';
import { FakeDaemon } from './fake-daemon.ts';

const page = pageFolder();
if (page === undefined) throw new Error('The page is not built. Next: npm run build -w @towpath/dashboard.');
const { PEERS, PICTURES } = process.env;
const daemon = await new FakeDaemon({
  page,
  nowMs: Date.now(),
  ...(PEERS ? { peers: Number(PEERS) } : {}),
  ...(PICTURES ? { pictures: Number(PICTURES) } : {}),
}).listen();
console.log(daemon.link);
