// Shows what the amount costs in roubles while it is typed.
{
  const form = document.querySelector("[data-top-up]");
  const line = form.querySelector("[data-roubles]");
  const format = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const show = () => {
    const typed = form.elements.amount.value.trim();
    const fits = /^\d{1,10}(\.\d{1,2})?$/.test(typed) && Number(typed) > 0;
    line.hidden = !fits;
    if (!fits) return;
    // In whole hundredths, whose product is exact: halves go up, as they do in the payment.
    const hundredths = Math.round(Number(typed) * 100) * Math.round(Number(form.dataset.rate) * 100);
    line.querySelector("[data-roubles-value]").textContent = format.format(Math.round(hundredths / 100) / 100);
  };
  form.addEventListener("input", show);
  show();
}
