// Fetches the page repeatedly and replaces one part of it, until that part no longer has data-refresh; the interval
// grows with time.
{
  const SLOWEST = 15000;

  const again = async (id, delay) => {
    const old = document.getElementById(id);
    if (document.hidden) return plan(old, delay);
    try {
      const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
      // The login has expired: go to the login page instead of showing stale data.
      if (reply.redirected) return location.reload();
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      const fresh = reply.ok && page.getElementById(id);
      // Replaces the part only when it changed, so that screen readers announce only changes.
      if (fresh && fresh.innerHTML !== old.dataset.source) {
        old.dataset.source = fresh.innerHTML;
        old.innerHTML = fresh.innerHTML;
        showLocalTimes(old);
        if (!fresh.dataset.refresh) delete old.dataset.refresh;
        old.dataset.status = fresh.dataset.status || "";
      }
    } catch {
      // A network error; the next interval retries.
    }
    plan(document.getElementById(id), Math.max(delay, Math.min(delay * 1.2, Number(old.dataset.slowest) || SLOWEST)));
  };
  const plan = (element, delay) => {
    if (element.dataset.refresh) setTimeout(() => again(element.id, delay), delay);
  };
  for (const element of document.querySelectorAll("[data-refresh]")) plan(element, Number(element.dataset.refresh));
}
