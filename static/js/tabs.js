// Turns a list of snippets into tabs (ARIA Authoring Practices, tabs pattern).
for (const group of document.querySelectorAll("[data-tabs]")) {
  const parts = [...group.querySelectorAll(":scope > .snippets-part")];
  const list = document.createElement("div");
  list.className = "tabs";
  list.setAttribute("role", "tablist");
  const choose = (chosen, focus) => {
    for (const [index, part] of parts.entries()) {
      part.hidden = index !== chosen;
      tabs[index].setAttribute("aria-selected", index === chosen);
      tabs[index].tabIndex = index === chosen ? 0 : -1;
    }
    if (focus) tabs[chosen].focus();
  };
  const tabs = parts.map((part, index) => {
    const heading = part.querySelector("h3");
    const tab = document.createElement("button");
    tab.type = "button";
    tab.id = `${heading.id}-tab`;
    tab.textContent = heading.textContent;
    tab.setAttribute("role", "tab");
    part.id ||= `${heading.id}-part`;
    tab.setAttribute("aria-controls", part.id);
    part.setAttribute("role", "tabpanel");
    part.setAttribute("aria-labelledby", tab.id);
    heading.hidden = true;
    tab.addEventListener("click", () => choose(index));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: index + 1, ArrowLeft: index - 1, Home: 0, End: parts.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      choose((to + parts.length) % parts.length, true);
    });
    list.append(tab);
    return tab;
  });
  group.prepend(list);
  choose(0);
}
