import type { ReactElement } from 'react';

/** Outlines on a grid of 20, drawn for this page. They are decoration: the name is always in text or in a label. */
const PATHS = {
  party:
    'M10 10m-2.2 0a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0-4.4 0M4 4.6m-1.6 0a1.6 1.6 0 1 0 3.2 0a1.6 1.6 0 1 0-3.2 0M16 5.6m-1.6 0a1.6 1.6 0 1 0 3.2 0a1.6 1.6 0 1 0-3.2 0M14.6 15.8m-1.6 0a1.6 1.6 0 1 0 3.2 0a1.6 1.6 0 1 0-3.2 0M5.2 5.7l3.2 2.7M14.6 6.5l-2.7 2.1M13.5 14.5l-2.1-2.8',
  camera:
    'M3 7.2h2.6l1.5-2.2h5.8l1.5 2.2H17a.8.8 0 0 1 .8.8v7a.8.8 0 0 1-.8.8H3a.8.8 0 0 1-.8-.8V8a.8.8 0 0 1 .8-.8zM10 11.3m-2.9 0a2.9 2.9 0 1 0 5.8 0a2.9 2.9 0 1 0-5.8 0',
  relay: 'M3 13.5h4.2l5.6-7H17M14.4 3.9 17 6.5l-2.6 2.6M3 6.5h4.2l1.6 2M11.2 11.5l1.6 2H17M14.4 10.9l2.6 2.6-2.6 2.6',
  network:
    'M10 10m-7.4 0a7.4 7.4 0 1 0 14.8 0a7.4 7.4 0 1 0-14.8 0M2.8 10h14.4M10 2.6c2.2 2.2 3.2 4.7 3.2 7.4s-1 5.2-3.2 7.4c-2.2-2.2-3.2-4.7-3.2-7.4s1-5.2 3.2-7.4z',
  invite:
    'M8 9.6m-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0M2.6 17c.5-2.6 2.7-4.2 5.4-4.2s4.900 1.600 5.400 4.200M15.400 4.800v5.200M12.800 7.400h5.200',
  events: 'M4 5.2h12M4 10h12M4 14.800h7.500',
  back: 'M12 4.800 6.800 10l5.200 5.200',
  next: 'M8 4.800 13.200 10 8 15.200',
  close: 'M5 5l10 10M15 5 5 15',
  download: 'M10 3.500v9M6.400 9.200 10 12.800l3.600-3.600M4 16.200h12',
  trash: 'M4 6h12M8 6V4.200h4V6M5.400 6l.7 10h7.800l.7-10M8.400 9v4.400M11.600 9v4.400',
  play: 'M6.500 4.500v11l9-5.500z',
  stop: 'M5.500 5.500h9v9h-9z',
  copy: 'M7 7h9.500v9.500H7zM4 13H3.500V3.500H13V4',
  refresh:
    'M16 8.200A6.400 6.400 0 0 0 4.500 6.800M4 11.800a6.400 6.400 0 0 0 11.500 1.400M4.300 3.600v3.400h3.400M15.700 16.400V13h-3.400',
  warning: 'M10 3 18 16.500H2zM10 8v4M10 14.200v.1',
  offline:
    'M3 3l14 14M5 9.200a8 8 0 0 1 3-1.600M15.200 9.300A8 8 0 0 0 11.600 7.400M7.400 12.200a4.300 4.300 0 0 1 2.600-.9M10 15.400v.1M2.600 6.600A11.500 11.500 0 0 1 5 5M17.500 6.700A11.400 11.400 0 0 0 9 4.100',
  check: 'M4 10.600 8 14.600 16 6',
  key: 'M7 10m-3.500 0a3.500 3.500 0 1 0 7 0a3.500 3.500 0 1 0-7 0M10.500 10H17M14.500 10v3M17 10v2',
  sun: 'M10 10m-3.200 0a3.200 3.200 0 1 0 6.400 0a3.200 3.200 0 1 0-6.400 0M10 2.500v1.800M10 15.700v1.800M2.500 10h1.800M15.700 10h1.800M4.700 4.700 6 6M14 14l1.300 1.300M15.300 4.700 14 6M6 14l-1.300 1.300',
  moon: 'M16.200 12A6.700 6.700 0 0 1 8 3.800 6.700 6.700 0 1 0 16.200 12z',
  auto: 'M10 10m-6.800 0a6.800 6.800 0 1 0 13.600 0a6.800 6.800 0 1 0-13.600 0M10 3.200v13.600M12.500 4v12M15 5.700v8.600',
  video: 'M3 5.500h9.500v9H3zM12.500 9l4.500-2.500v7L12.500 11',
  battery: 'M2.500 6.500h13v7h-13zM17.500 9v2',
  card: 'M5 3h7l3.500 3.500V17H5zM8 3.500v3M10.500 3.500v3',
  signal: 'M4 15.500v-2M8 15.500v-5M12 15.500v-8M16 15.500v-11',
  bolt: 'M11 2.500 4.500 11.500H9.500L9 17.500l6.500-9H10.500z',
  search: 'M9 9m-5.200 0a5.200 5.200 0 1 0 10.400 0a5.200 5.200 0 1 0-10.400 0M13 13l4 4',
  more: 'M4.500 10v.1M10 10v.1M15.500 10v.1',
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }): ReactElement {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 20 20"
      fill="none"
      stroke="currentColor"
      strokeWidth={name === 'more' ? 2.4 : 1.5}
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark: a path beside water. */
export function Mark({ size = 22 }: { size?: number }): ReactElement {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="2.2"
      strokeLinecap="round"
      aria-hidden="true"
    >
      <path d="M3 8.500c3 0 3-2.500 6-2.500s3 2.500 6 2.500 3-2.500 6-2.500" opacity=".42" />
      <path d="M3 13.300c3 0 3-2.500 6-2.500s3 2.500 6 2.500 3-2.500 6-2.500" opacity=".7" />
      <path d="M3 18.500h18" />
    </svg>
  );
}
