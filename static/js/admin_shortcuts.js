// Keyboard shortcuts for admins: "g" and a letter opens a page of the side navigation, "j" and "k" move between table
// rows, "?" lists all shortcuts. The search box's "/" is in page.js.
{
  const dialog = document.getElementById("shortcuts");
  const places = [...document.querySelectorAll("[data-go]")];
  const list = dialog.querySelector("dl");
  for (const link of places) {
    link.setAttribute("aria-keyshortcuts", `g ${link.dataset.go}`);
    const row = document.createElement("div");
    const words = document.createElement("dt");
    const keys = document.createElement("dd");
    words.textContent = link.textContent;
    for (const key of ["g", link.dataset.go]) {
      const cap = document.createElement("kbd");
      cap.textContent = key;
      keys.append(cap, " ");
    }
    row.append(words, keys);
    list.append(row);
  }

  let going = 0;
  const walk = (by) => {
    const links = [...document.querySelectorAll("tbody a.row-link")];
    const at = links.indexOf(document.activeElement);
    links[Math.min(links.length - 1, Math.max(0, at + by))]?.focus();
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea, dialog[open]")) return;
    if (Date.now() < going) {
      going = 0;
      const place = places.find((link) => link.dataset.go === event.key);
      if (place) location.assign(place.href);
    } else if (event.key === "g") going = Date.now() + 1500;
    else if (event.key === "?") dialog.showModal();
    else if (event.key === "j") walk(1);
    else if (event.key === "k") walk(-1);
  });
}
