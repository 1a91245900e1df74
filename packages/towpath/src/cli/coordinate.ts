import { InvalidArgumentError } from 'commander';

/** Parses degrees from −`limit` to `limit`. */
export function coordinate(limit: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !(Math.abs(value) <= limit)) {
      throw new InvalidArgumentError(`Expected degrees from -${limit} to ${limit}, such as 52.70442.`);
    }
    return value;
  };
}
