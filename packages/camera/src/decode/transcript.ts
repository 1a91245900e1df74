import type { ConversationSummary, DecodedMessage, MessageJson } from './decoded-message.ts';

/** Characters of JSON in a line, beside the columns. */
const MAX_JSON_CHARS = 160;

/** Formats a message as one line: time, direction, channel, kind, and its content shortened. */
export function transcriptLine({ json, timeMs }: DecodedMessage): string {
  const time = timeMs === undefined ? '' : (timeMs / 1000).toFixed(3);
  const arrow = json.dir === 'tx' ? '→' : '←';
  const port = json.lport === undefined ? '' : ` port ${json.lport}`;
  const columns = [time.padStart(9), arrow, `ch${json.channel}`, json.kind.padEnd(11)];
  return `${columns.join(' ')} ${inShort(json)}${port}  #${json.record}`.replace(/ {2,}#/, '  #');
}

/** Formats the summary as lines of text. */
export function summaryLines(summary: ConversationSummary): string[] {
  const lines = [`${counted(summary.records, 'packet')}${truncatedNote(summary)}`];
  for (const [name, counts] of Object.entries(summary.drw)) {
    if ('distinct' in counts) lines.push(`data ${name}: ${malformed(counts.distinct)}`);
    else {
      const { unique_indices, first, last, missing, duplicates, payload_bytes } = counts;
      const range = `indices ${first}…${last}, ${missing} missing`;
      lines.push(
        `data ${name}: ${counted(unique_indices, 'packet')}, ${range}, ${duplicates} repeated, ${counted(payload_bytes, 'byte')}`,
      );
    }
  }
  for (const [name, counts] of Object.entries(summary.drw_ack)) {
    if ('distinct' in counts) lines.push(`acks ${name}: ${malformed(counts.distinct)}`);
    else lines.push(`acks ${name}: ${counted(counts.unique, 'index', 'indices')} of ${counts.min}…${counts.max}`);
  }
  if (summary.ble !== undefined) {
    lines.push(
      `bluetooth: ${counted(summary.ble.write.length, 'write')}, ${counted(summary.ble.notifications, 'notification')}`,
    );
  }
  for (const { plaintext_tail, record } of summary.partial_plaintext ?? []) {
    lines.push(`end of a response whose beginning is missing: …${shortened(plaintext_tail)}  #${record}`);
  }
  const { av_frames_complete, thumbnail_items_complete, file_items_complete, jpeg_complete } = summary.binary_summary;
  lines.push(
    `complete: ${counted(av_frames_complete, 'video or audio frame')}, ${counted(thumbnail_items_complete, 'thumbnail')}, ` +
      `${counted(file_items_complete, 'file')}, of them ${counted(jpeg_complete.length, 'JPEG picture')}`,
  );
  const missing = counted(summary.incomplete.length, 'incomplete message');
  lines.push(`incomplete: ${missing}, ${counted(summary.orphan_fragments.length, 'fragment')} without a beginning`);
  return lines;
}

/** `1 packet`, `2 packets`. */
function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

function malformed(distinct: number): string {
  return distinct === 1 ? '1 packet is malformed' : `${distinct} different packets are malformed`;
}

function truncatedNote({ truncated_records }: ConversationSummary): string {
  return truncated_records === undefined ? '' : `, ${truncated_records} of them recorded only in part`;
}

function inShort(json: MessageJson): string {
  if (json.decode_error === true) return `seq ${json.seq}: ${json.length} bytes, not decodable`;
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

/** Control characters could control the terminal, so they are printed as their codes. */
function shortened(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression matches control characters
  const visible = text.replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`;
  });
  return visible.length <= MAX_JSON_CHARS ? visible : `${visible.slice(0, MAX_JSON_CHARS)}…`;
}
