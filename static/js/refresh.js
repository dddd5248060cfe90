// Fetches the page again and puts the fresh part in place, until that part no longer asks for it.
{
  const again = async (id) => {
    const old = document.getElementById(id);
    try {
      const reply = await fetch(location.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await reply.text(), "text/html");
      const fresh = reply.ok && page.getElementById(id);
      // Only a change is put in place, so that a screen reader says only what is new.
      if (fresh && fresh.innerHTML !== old.dataset.source) {
        old.dataset.source = fresh.innerHTML;
        old.innerHTML = fresh.innerHTML;
        if (!fresh.dataset.refresh) delete old.dataset.refresh;
        old.dataset.status = fresh.dataset.status || "";
      }
    } catch {
      // The network may be away for a moment; the next round tries again.
    }
    plan(document.getElementById(id));
  };
  const plan = (element) => {
    if (element.dataset.refresh) setTimeout(() => again(element.id), Number(element.dataset.refresh));
  };
  for (const element of document.querySelectorAll("[data-refresh]")) plan(element);
}
