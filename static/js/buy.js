// Shows the price and the balance after the purchase, and a link to top up when the balance is too low.
{
  const form = document.querySelector("[data-buy]");
  const find = (name) => form.querySelector(`[data-buy-${name}]`);
  const cents = (text) => Math.round(Number(text) * 100);
  const format = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

  const show = () => {
    const chosen = form.querySelector('[name="duration_hours"]:checked');
    if (!chosen) return;
    const after = cents(form.dataset.balance) - cents(chosen.dataset.price);
    find("price").textContent = format.format(cents(chosen.dataset.price) / 100);
    find("after").textContent = format.format(after / 100);
    find("short").hidden = after >= 0;
    const link = find("top-up");
    const back = new URLSearchParams({ duration_hours: chosen.value });
    for (const name of ["scope", "name", "coupon"]) {
      const value = new FormData(form).get(name);
      if (value) back.set(name, value);
    }
    const query = new URLSearchParams({ amount: (-after / 100).toFixed(2), next: `${link.dataset.back}?${back}` });
    link.search = query.toString();
  };

  form.addEventListener("input", show);
  show();
}
