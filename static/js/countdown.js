// Counts the time that is left down, in the two largest units, as portal/formats.py writes it, zeros too: nothing may jump.
{
  const started = performance.now();
  const write = (element) => {
    const [d, h, min, s] = element.dataset.units.split("|");
    const left = Math.max(0, Math.ceil(Number(element.dataset.countdown) - (performance.now() - started) / 1000));
    const days = Math.floor(left / 86400);
    const hours = Math.floor(left / 3600) % 24;
    const minutes = Math.floor(left / 60) % 60;
    if (days) element.textContent = `${days} ${d} ${hours} ${h}`;
    else if (hours) element.textContent = `${hours} ${h} ${minutes} ${min}`;
    else element.textContent = `${minutes} ${min} ${left % 60} ${s}`;
  };
  const all = [...document.querySelectorAll("[data-countdown]")];
  if (all.length) setInterval(() => all.forEach(write), 1000);
}
