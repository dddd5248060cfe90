// Counts down the remaining time in its two largest units, in the format of models/services/durations.py (same CLDR
// data), zeros included so that the layout does not change.
{
  const started = performance.now();
  const units = Object.fromEntries(
    ["day", "hour", "minute", "second"].map((unit) => [
      unit,
      new Intl.NumberFormat(document.documentElement.lang, { style: "unit", unit, unitDisplay: "long" }),
    ]),
  );
  const write = (element) => {
    const left = Math.max(0, Math.ceil(Number(element.dataset.countdown) - (performance.now() - started) / 1000));
    const days = Math.floor(left / 86400);
    const hours = Math.floor(left / 3600) % 24;
    const minutes = Math.floor(left / 60) % 60;
    const parts = days
      ? [[days, "day"], [hours, "hour"]]
      : hours
        ? [[hours, "hour"], [minutes, "minute"]]
        : minutes
          ? [[minutes, "minute"], [left % 60, "second"]]
          : [[left, "second"]];
    element.textContent = parts.map(([count, unit]) => units[unit].format(count)).join(" ");
  };
  const all = [...document.querySelectorAll("[data-countdown]")];
  // At zero the page is reloaded, since the token may have expired or been renewed; not while the user types or a
  // dialog is open.
  let asked = false;
  const isOver = (element) => {
    const left = Number(element.dataset.countdown);
    return left > 0 && left + 1 < (performance.now() - started) / 1000;
  };
  const isFree = () => !document.querySelector("dialog[open]") && !document.activeElement?.matches("input, select, textarea");
  const tick = () => {
    all.forEach(write);
    if (!asked && all.some(isOver) && isFree()) {
      asked = true;
      location.reload();
    }
  };
  if (all.length) setInterval(tick, 1000);
}
