// Warns before leaving while the secret has not been copied or declared saved.
{
  const panel = document.querySelector("[data-secret]");
  let saved = false;
  document.addEventListener("copied", () => { saved = true; });
  document.addEventListener("copy", () => { saved = true; });
  document.querySelector("[data-saved]").addEventListener("click", () => { saved = true; });
  addEventListener("beforeunload", (event) => {
    if (panel && !saved) event.preventDefault();
  });
}
