import type { ConversationSummary, DecodedMessage, MessageJson } from './decoded-message.ts';

/** Characters of JSON that fit a line beside the columns. */
const MAX_JSON_CHARS = 160;

/** One line that a person reads: time, direction, channel, kind, and the message in short. */
export function transcriptLine({ json, timeMs }: DecodedMessage): string {
  const time = timeMs === undefined ? '' : (timeMs / 1000).toFixed(3);
  const arrow = json.dir === 'tx' ? '→' : '←';
  const port = json.lport === undefined ? '' : ` port ${json.lport}`;
  const columns = [time.padStart(9), arrow, `ch${json.channel}`, json.kind.padEnd(11)];
  return `${columns.join(' ')} ${inShort(json)}${port}  #${json.record}`.replace(/ {2,}#/, '  #');
}

/** What the summary says, in lines that a person reads. */
export function summaryLines(summary: ConversationSummary): string[] {
  const lines = [`${summary.records} packets${truncatedNote(summary)}`];
  for (const [name, counts] of Object.entries(summary.drw)) {
    if ('distinct' in counts) lines.push(`data ${name}: ${counts.distinct} different packets are malformed`);
    else {
      const { unique_indices, first, last, missing, duplicates, payload_bytes } = counts;
      const range = `indices ${first}…${last}, ${missing} missing`;
      lines.push(`data ${name}: ${unique_indices} packets, ${range}, ${duplicates} repeated, ${payload_bytes} bytes`);
    }
  }
  for (const [name, counts] of Object.entries(summary.drw_ack)) {
    if ('distinct' in counts) lines.push(`acks ${name}: ${counts.distinct} different packets are malformed`);
    else lines.push(`acks ${name}: ${counts.unique} indices of ${counts.min}…${counts.max}`);
  }
  if (summary.ble !== undefined) {
    lines.push(`bluetooth: ${summary.ble.write.length} writes, ${summary.ble.notifications} notifications`);
  }
  for (const { plaintext_tail, record } of summary.partial_plaintext ?? []) {
    lines.push(`end of a response whose beginning is missing: …${shortened(plaintext_tail)}  #${record}`);
  }
  const { av_frames_complete, thumbnail_items_complete, file_items_complete, jpeg_complete } = summary.binary_summary;
  lines.push(
    `complete: ${av_frames_complete} video or audio frames, ${thumbnail_items_complete} thumbnails, ` +
      `${file_items_complete} files, of them ${jpeg_complete.length} JPEG pictures`,
  );
  const missing = `${summary.incomplete.length} messages without their end`;
  lines.push(`left over: ${missing}, ${summary.orphan_fragments.length} fragments without their beginning`);
  return lines;
}

function truncatedNote({ truncated_records }: ConversationSummary): string {
  return truncated_records === undefined ? '' : `, ${truncated_records} of them recorded only in part`;
}

function inShort(json: MessageJson): string {
  if (json.decode_error === true) return `seq ${json.seq}: ${json.length} bytes that do not decode`;
  if (json.kind === 'connect_ack') return json.text ?? '';
  if (json.json_text !== undefined) return `seq ${json.seq} ${shortened(json.json_text)}`;
  if (json.av !== undefined) {
    const { width, height, video_len, audio_len, key, check_ok } = json.av;
    const picture =
      video_len === 0 ? '' : `${width}×${height} ${key === 0 ? '' : 'key frame '}video ${video_len} bytes `;
    const sound = audio_len === 0 ? '' : `audio ${audio_len} bytes `;
    return `seq ${json.seq} ${picture}${sound}${check_ok ? '' : '(damaged)'}`.trimEnd();
  }
  if (json.item !== undefined) {
    const { dirNum, mediaNum, data_len, jpeg } = json.item;
    return `seq ${json.seq} ${dirNum}/${mediaNum} ${jpeg ? 'JPEG ' : ''}${data_len} bytes`;
  }
  return `seq ${json.seq} ${json.length} bytes`;
}

/** Control characters could move the cursor of whoever reads this, so they are shown as their codes. */
function shortened(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const visible = text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return visible.length <= MAX_JSON_CHARS ? visible : `${visible.slice(0, MAX_JSON_CHARS)}…`;
}
