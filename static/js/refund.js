// Shows the refund if the token is revoked now, by the formula of models/services/tokens/purchase.py, in whole cents.
{
  const started = performance.now();
  const cents = (text) => BigInt(text.replace(".", ""));
  const format = new Intl.NumberFormat(document.documentElement.lang, { minimumFractionDigits: 2 });

  const due = (data) => {
    const price = cents(data.price);
    const paid = BigInt(data.paidSeconds);
    const used = BigInt(data.usedSeconds) + BigInt(Math.floor((performance.now() - started) / 1000));
    if (used >= paid) return 0n;
    const share = (price * (paid - used)) / paid;
    if (!data.list) return share;
    const list = data.list.trim().split(" ").map((pair) => pair.split(":")).sort((a, b) => a[0] - b[0]);
    const fitting = list.find(([hours]) => BigInt(hours) * 3600n >= used);
    if (!fitting) return share;
    const rest = price - cents(fitting[1]);
    return rest < 0n ? 0n : rest < share ? rest : share;
  };

  const running = [...document.querySelectorAll('[data-refund][data-running="1"]')];
  if (running.length) {
    setInterval(() => {
      for (const element of running) {
        const amount = due(element.dataset);
        element.dataset.amount = `${amount / 100n}.${String(amount % 100n).padStart(2, "0")}`;
        element.querySelector("[data-refund-text]").textContent = format.format(Number(amount) / 100);
      }
    }, 1000);
  }
}
