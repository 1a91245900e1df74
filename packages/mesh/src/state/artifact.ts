/** Something that Towpath makes outside its own process, and that would stay behind when the process is killed. */
export type Artifact =
  /** a WireGuard interface and, without the kernel module, the wireguard-go process that serves it */
  | { readonly kind: 'interface'; readonly name: string }
  /** lines between our markers in a hosts file */
  | { readonly kind: 'hosts-block'; readonly path: string; readonly marker: string }
  /** a kernel setting that was changed, and its value before */
  | { readonly kind: 'sysctl'; readonly key: string; readonly previous: string }
  /** an nftables table that no process owns */
  | { readonly kind: 'nft-table'; readonly family: 'ip' | 'ip6' | 'inet' | 'netdev'; readonly name: string };

const INTERFACE_NAME = /^tp-[0-9a-f]{1,12}$/;
const MARKER = /^[A-Za-z0-9 ._-]{1,80}$/;
const SYSCTL_KEY = /^net\.(?:ipv4|ipv6)(?:\.[A-Za-z0-9_@-]{1,32}){1,6}$/;
const TABLE_NAME = /^towpath-[a-z0-9-]{1,40}$/;

/**
 * Reads one artifact from a state file; undefined when it is not of a form that Towpath writes. A state file decides
 * what is deleted, so nothing but our own names is accepted.
 */
export function decodeArtifact(value: unknown): Artifact | undefined {
  if (typeof value !== 'object' || value === null || !('kind' in value)) return undefined;
  const field = (name: string): string => {
    const found: unknown = Reflect.get(value, name);
    return typeof found === 'string' ? found : '';
  };
  switch (value.kind) {
    case 'interface':
      return INTERFACE_NAME.test(field('name')) ? { kind: 'interface', name: field('name') } : undefined;
    case 'hosts-block':
      return field('path').startsWith('/') && MARKER.test(field('marker'))
        ? { kind: 'hosts-block', path: field('path'), marker: field('marker') }
        : undefined;
    case 'sysctl':
      return SYSCTL_KEY.test(field('key')) && /^\d{1,10}$/.test(field('previous'))
        ? { kind: 'sysctl', key: field('key'), previous: field('previous') }
        : undefined;
    case 'nft-table': {
      const family = (['ip', 'ip6', 'inet', 'netdev'] as const).find((each) => each === field('family'));
      return family && TABLE_NAME.test(field('name')) ? { kind: 'nft-table', family, name: field('name') } : undefined;
    }
    default:
      return undefined;
  }
}

/** True when both name the same thing. */
export function sameArtifact(a: Artifact, b: Artifact): boolean {
  return artifactKey(a) === artifactKey(b);
}

function artifactKey(artifact: Artifact): string {
  switch (artifact.kind) {
    case 'interface':
      return `interface ${artifact.name}`;
    case 'hosts-block':
      return `hosts-block ${artifact.path} ${artifact.marker}`;
    case 'sysctl':
      return `sysctl ${artifact.key}`;
    case 'nft-table':
      return `nft-table ${artifact.family} ${artifact.name}`;
    default:
      return artifact satisfies never;
  }
}
