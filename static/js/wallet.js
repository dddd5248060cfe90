// Shows what the amount costs in roubles while it is typed.
{
  const form = document.querySelector("[data-top-up]");
  const line = form.querySelector("[data-roubles]");
  const format = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const show = () => {
    const typed = form.elements.amount.value.trim();
    const fits = /^\d{1,10}(\.\d{1,2})?$/.test(typed) && Number(typed) > 0;
    line.hidden = !fits;
    if (fits) line.querySelector("[data-roubles-value]").textContent = format.format(Number(typed) * Number(form.dataset.rate));
  };
  form.addEventListener("input", show);
  show();
}
