import { describe, expect, it } from 'vitest';
import { lanRules, MAX_RECEIVERS } from '../../src/lan/lan-rules.ts';

const OPTIONS = { table: 'towpath-lan-1', interfaceName: 'tp-1', address: '10.66.0.2', broadcast: '10.66.255.255' };

describe('lanRules', () => {
  it('copies to each receiver under a mark of its own', () => {
    const rules = lanRules({ ...OPTIONS, receivers: ['10.66.0.3', '10.66.0.4'] });
    expect(rules).toContain('elements = { 0x54500001 : 10.66.0.3, 0x54500002 : 10.66.0.4 };');
    expect(rules).toContain('meta mark set 0x54500002 dup to 10.66.0.4 device "tp-1"');
    expect(rules).toContain('limit rate over 50/second');
  });

  it('copies to a bounded number of members', () => {
    const receivers = Array.from({ length: 200 }, (_, at) => `10.66.1.${at}`);
    expect(lanRules({ ...OPTIONS, receivers }).match(/dup to/g)).toHaveLength(MAX_RECEIVERS);
  });

  it('limits what each member hands in, twice as much as an honest one sends', () => {
    const rules = lanRules({ ...OPTIONS, receivers: ['10.66.0.3'] });
    const limit = 'ip dscp 41-44 update @heard { ip saddr limit rate over 100/second burst 200 packets } drop';
    expect(rules).toContain(limit);
    expect(rules.indexOf(limit)).toBeLessThan(rules.indexOf('ip dscp 41 ip dscp set 0'));
  });

  it('takes nothing but addresses', () => {
    expect(() => lanRules({ ...OPTIONS, receivers: ['10.66.0.3 }; flush ruleset'] })).toThrow(RangeError);
    expect(() => lanRules({ ...OPTIONS, receivers: [], groups: ['x'] })).toThrow(RangeError);
  });
});
