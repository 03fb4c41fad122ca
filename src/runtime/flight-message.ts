import type { Leg } from './flight.js';

/**
 * The messages of a flight in one piece, because each write costs more than all that is in it: Parse, Bind and Execute of
 * the unnamed statement for each leg. `isWhole`: nothing comes behind them, and the flight ends with a Sync.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */
export function encodeFlight(legs: readonly Leg[], isWhole: boolean): Buffer {
  const parts = legs.flatMap(({ text, values = [], flush }) => [
    message('P', NUL, Buffer.from(text), NUL, NO_TYPES),
    message('B', NUL, NUL, NO_FORMATS, ...bound(values), NO_FORMATS),
    EXECUTE,
    ...(flush ? [FLUSH] : []),
  ]);
  return Buffer.concat(isWhole ? [...parts, SYNC] : parts);
}

/** All values as text. */
function bound(values: readonly (string | null)[]): readonly Buffer[] {
  const parts = values.map((value) => {
    if (value === null) return NULL;
    const bytes = Buffer.from(value);
    return Buffer.concat([int32(bytes.length), bytes]);
  });
  return [int16(values.length), ...parts];
}

function message(type: string, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type), int32(body.length + 4), body]);
}

function int16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 0xff);
}

function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}

const NUL = Buffer.from([0]);
const NULL = int32(-1);
const NO_TYPES = int16(0);
const NO_FORMATS = int16(0);
/** Of the unnamed portal, all its rows. */
const EXECUTE = message('E', NUL, int32(0));
const FLUSH = message('H');
const SYNC = message('S');
