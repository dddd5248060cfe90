// Shows the price of the amount in rubles while it is typed.
{
  const form = document.querySelector("[data-top-up]");
  const line = form.querySelector("[data-roubles]");
  const format = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const separator = (type) => format.formatToParts(1234567.5).find((part) => part.type === type).value;
  // As the server reads it (portal/forms/numbers.py): the language's own separators, spaces, and a point for decimals.
  const number = new RegExp(`^(\\d+|\\d{1,3}(?:([${separator("group")} \u00a0\u2009\u202f])\\d{3}(?:\\2\\d{3})*))(?:[.${separator("decimal")}](\\d{1,2}))?$`);
  const show = () => {
    const read = number.exec(form.elements.amount.value.trim());
    const typed = read ? `${read[1].replace(/\D/g, "")}.${read[3] ?? "0"}` : "";
    const fits = Number(typed) > 0;
    line.hidden = !fits;
    if (!fits) return;
    // In whole hundredths, so that the product is exact; rounds half up, as the payment does.
    const hundredths = Math.round(Number(typed) * 100) * Math.round(Number(form.dataset.rate) * 100);
    line.querySelector("[data-roubles-value]").textContent = format.format(Math.round(hundredths / 100) / 100);
  };
  form.addEventListener("input", show);
  show();
}
