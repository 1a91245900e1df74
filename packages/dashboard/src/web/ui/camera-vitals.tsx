import type { Camera } from '../../api/cameras.ts';
import { cardRatio, FULL_CARD_RATIO, LOW_BATTERY_PERCENT, signalWords } from '../lib/cameras.ts';
import { formatBytes, UNKNOWN } from '../lib/format.ts';
import { Icon } from './icons.tsx';
import { Meter } from './parts.tsx';

/** Battery, card and signal. */
export function Vitals({ camera: { device } }: { camera: Camera }) {
  const battery = device?.battery ?? undefined;
  const card = device?.card ?? undefined;
  const used = card === undefined ? 0 : cardRatio(card);
  return (
    <dl className="vitals">
      <div>
        <dt>
          <Icon name="battery" size={17} /> Battery
        </dt>
        <dd title={battery?.charging ? 'Charging' : undefined}>
          {battery === undefined ? UNKNOWN : `${battery.percent} %`}
          {battery?.charging && (
            <>
              <Icon name="bolt" size={15} />
              <span className="visually-hidden">charging</span>
            </>
          )}
        </dd>
        <dd>
          <Meter
            ratio={(battery?.percent ?? 0) / 100}
            label="Battery"
            tone={battery !== undefined && battery.percent <= LOW_BATTERY_PERCENT ? 'bad' : 'direct'}
          />
        </dd>
      </div>
      <div>
        <dt>
          <Icon name="card" size={17} /> Card
        </dt>
        <dd>{card === undefined ? UNKNOWN : card.error ? 'error' : `${formatBytes(card.freeMb * 1e6)} free`}</dd>
        <dd>
          <Meter
            ratio={used}
            label="Card used"
            tone={card?.error ? 'bad' : used > FULL_CARD_RATIO ? 'relay' : 'direct'}
          />
        </dd>
      </div>
      <div>
        <dt>
          <Icon name="signal" size={17} /> Signal
        </dt>
        <dd title={device?.signalDbm == null ? undefined : `${device.signalDbm} dBm`}>
          {device?.signalDbm == null ? UNKNOWN : signalWords(device.signalDbm)}
        </dd>
        <dd>
          <Meter ratio={device?.signalDbm == null ? 0 : (device.signalDbm + 95) / 50} label="Signal" />
        </dd>
      </div>
    </dl>
  );
}
