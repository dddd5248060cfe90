// Fetches the page again and puts the fresh part in place, until that part no longer asks for it. What takes long is
// asked for less and less often.
{
  const SLOWEST = 15000;

  const again = async (id, delay) => {
    const old = document.getElementById(id);
    if (document.hidden) return plan(old, delay);
    try {
      const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
      // The login is over: stale figures would pass for fresh ones, so go where it can be renewed.
      if (reply.redirected) return location.reload();
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      const fresh = reply.ok && page.getElementById(id);
      // Only a change is put in place, so that a screen reader says only what is new.
      if (fresh && fresh.innerHTML !== old.dataset.source) {
        old.dataset.source = fresh.innerHTML;
        old.innerHTML = fresh.innerHTML;
        showLocalTimes(old);
        if (!fresh.dataset.refresh) delete old.dataset.refresh;
        old.dataset.status = fresh.dataset.status || "";
      }
    } catch {
      // The network may be away for a moment; the next round tries again.
    }
    plan(document.getElementById(id), Math.max(delay, Math.min(delay * 1.2, Number(old.dataset.slowest) || SLOWEST)));
  };
  const plan = (element, delay) => {
    if (element.dataset.refresh) setTimeout(() => again(element.id, delay), delay);
  };
  for (const element of document.querySelectorAll("[data-refresh]")) plan(element, Number(element.dataset.refresh));
}
