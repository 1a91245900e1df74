export { type ExchangeOptions, type ExchangeLimits, exchange, type ExchangePhase } from './bluetooth/exchange.ts';
export { type Bus, type BusTarget, openSystemBus, type SignalMatch, type BusSignal } from './dbus/bus.ts';
export { Typed } from './dbus/values.ts';
export { WakeError, type WakeErrorCode } from './wake-error.ts';
export { joinWifi, type JoinLimits, type JoinOptions, type JoinPhase, type WifiJoin } from './wifi/join.ts';
