// Numbers, money and times as people read them: rounded to what they mean, never more.

const LOCALE = "en";
const WHOLE = new Intl.NumberFormat(LOCALE, { maximumFractionDigits: 0 });
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const UNKNOWN = "–";
// Between a number and its unit no line breaks.
const GAP = "\u00a0";
const SUPERSCRIPTS = { "+": "", "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };

function decimals(value, digits) {
  return value.toLocaleString(LOCALE, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

const isKnown = (value) => typeof value === "number" && Number.isFinite(value);

/** 12345 -> "12,345". */
export function count(value) {
  return isKnown(value) ? WHOLE.format(value) : UNKNOWN;
}

/** Three significant digits, with a power of ten only where it must be: 0.03456 -> "0.0346", 123456 -> "123,456". */
export function figure(value, digits = 3) {
  if (!isKnown(value)) return UNKNOWN;
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e9 || size < 1e-5) {
    const [digit, power] = value.toExponential(1).split("e");
    return `${digit} × 10${[...power].map((one) => SUPERSCRIPTS[one]).join("")}`;
  }
  if (size >= 10 ** (digits - 1)) return WHOLE.format(value);
  return value.toLocaleString(LOCALE, { maximumSignificantDigits: digits });
}

/** A share as per cent: 0.4692 -> "46.9 %", 0.00042 -> "0.042 %". */
export function share(value) {
  if (!isKnown(value)) return UNKNOWN;
  const percent = value * 100;
  const size = Math.abs(percent);
  if (size === 0) return `0${GAP}%`;
  if (size >= 99.95) return `${decimals(percent, 0)}${GAP}%`;
  if (size >= 1) return `${decimals(percent, 1)}${GAP}%`;
  return `${percent.toLocaleString(LOCALE, { maximumSignificantDigits: 2 })}${GAP}%`;
}

/** A share on an axis or beside a bar: whole per cents, small ones as "< 0.1 %". */
export function percent(value) {
  if (!isKnown(value)) return UNKNOWN;
  if (value > 0 && value < 0.001) return `< 0.1${GAP}%`;
  const size = Math.abs(value * 100);
  return `${decimals(value * 100, size === 0 || size >= 10 || Number.isInteger(Math.round(size * 1e6) / 1e6) ? 0 : 1)}${GAP}%`;
}

/** An index such as PSI: 0.2314 -> "0.231", always three decimals, so that columns align. */
export function index(value) {
  return isKnown(value) ? decimals(value, 3) : UNKNOWN;
}

/** Transactions per second: "1,012 /s", "8.4 /s". */
export function rate(value) {
  return isKnown(value) ? `${value >= 10 || value === 0 ? WHOLE.format(value) : decimals(value, 1)}${GAP}/s` : UNKNOWN;
}

/** Milliseconds: "8.4 ms", "34 ms", "1.2 s". */
export function latency(value) {
  if (!isKnown(value)) return UNKNOWN;
  if (value >= 1000) return `${decimals(value / 1000, 1)}${GAP}s`;
  return `${decimals(value, value < 10 ? 1 : 0)}${GAP}ms`;
}

/** A length of time in its largest sensible unit: "5 s", "3 min", "2 h", "4 days". */
export function duration(length_ms) {
  if (!isKnown(length_ms)) return UNKNOWN;
  const size = Math.abs(length_ms);
  if (size < MINUTE_MS) return `${Math.round(size / 1000)}${GAP}s`;
  if (size < HOUR_MS) return `${Math.round(size / MINUTE_MS)}${GAP}min`;
  if (size < 2 * DAY_MS) return `${Math.round(size / HOUR_MS)}${GAP}h`;
  return `${Math.round(size / DAY_MS)}${GAP}days`;
}

/** A moment as seen from `now_ms`: "just now", "12 s ago", "in 3 min". */
export function ago(time_ms, now_ms) {
  if (!isKnown(time_ms)) return UNKNOWN;
  const past_ms = now_ms - time_ms;
  if (Math.abs(past_ms) < 1500) return "just now";
  return past_ms > 0 ? `${duration(past_ms)} ago` : `in ${duration(past_ms)}`;
}

/** "2026-08-22 07:11:38 UTC". */
export function absolute(time_ms) {
  return isKnown(time_ms) ? `${new Date(time_ms).toISOString().slice(0, 19).replace("T", " ")} UTC` : UNKNOWN;
}

const part = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", ...options });
const DAY = part({ day: "numeric", month: "short" });
const DAY_YEAR = part({ day: "numeric", month: "short", year: "numeric" });
const CLOCK = part({ hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const CLOCK_S = part({ hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** "22 Aug". */
export const day = (time_ms) => (isKnown(time_ms) ? DAY.format(time_ms) : UNKNOWN);
/** "22 Aug 2026". */
export const date = (time_ms) => (isKnown(time_ms) ? DAY_YEAR.format(time_ms) : UNKNOWN);
/** "22 Aug, 07:11". */
export const minute = (time_ms) => (isKnown(time_ms) ? `${DAY.format(time_ms)}, ${CLOCK.format(time_ms)}` : UNKNOWN);

/** The text of a time axis' tick, given the distance of its ticks. */
export function tick(time_ms, step_ms) {
  if (step_ms >= DAY_MS) return DAY.format(time_ms);
  if (step_ms >= MINUTE_MS) return time_ms % DAY_MS === 0 && step_ms >= HOUR_MS ? DAY.format(time_ms) : CLOCK.format(time_ms);
  return CLOCK_S.format(time_ms);
}

/** Digits after the point of a currency: 2 for EUR, 0 for JPY; 2 for a code nobody knows. */
function exponent(currency) {
  try {
    return new Intl.NumberFormat(LOCALE, { style: "currency", currency }).resolvedOptions().maximumFractionDigits;
  } catch {
    return 2;
  }
}

/** Money in minor units: 123456, "EUR" -> "1,234.56 EUR". */
export function money(amount_minor, currency) {
  if (!isKnown(amount_minor)) return UNKNOWN;
  const digits = exponent(currency);
  return `${decimals(amount_minor / 10 ** digits, digits)}${GAP}${currency}`;
}

/** Money of many transactions, without the cents: "12,346 EUR"; above a million "1.23 m EUR". */
export function sum(amount_minor, currency) {
  if (!isKnown(amount_minor)) return UNKNOWN;
  const amount = amount_minor / 10 ** exponent(currency);
  return Math.abs(amount) >= 1e6 ? `${decimals(amount / 1e6, 2)}${GAP}m ${currency}` : `${WHOLE.format(amount)}${GAP}${currency}`;
}

const COUNTRY_LETTERS = 26;

/** A feature's value with its unit; `currency`: what "minor units" are of. */
export function quantity(value, unit, currency = "", name = "") {
  if (!isKnown(value)) return "missing";
  if (unit === "minor units") return currency ? money(Math.round(value), currency) : `${figure(value)} minor units`;
  if (unit === "s") return value < 1 ? `0${GAP}s` : duration(value * 1000);
  if (unit === "share" || unit === "probability") return share(value);
  if (unit === "0 or 1") return value ? "yes" : "no";
  if (unit === "code") {
    if (name !== "event_country") return String(Math.round(value));
    return String.fromCharCode(65 + Math.floor(value / COUNTRY_LETTERS), 65 + (value % COUNTRY_LETTERS));
  }
  if (unit === "ratio") return `${figure(value)}${GAP}×`;
  if (unit === "1" || unit === "" || unit === "estimated number" || unit === "decayed count") return figure(value);
  return `${figure(value)} ${unit === "transactions" ? "" : unit}`.trim();
}

/** "1 worker", "3 workers". */
export function plural(n, one, many = `${one}s`) {
  return `${count(n)} ${n === 1 ? one : many}`;
}
