"use strict";
const find = id => document.getElementById(id), all = (selector, within = document) => [...within.querySelectorAll(selector)];
const dialog = document.querySelector("dialog"), contents = find("contents"), table = find("ledger");

const unfold = (button, open) => {
  const more = find(button.getAttribute("aria-controls")), link = more.querySelector(".beside");
  button.setAttribute("aria-expanded", open);
  more.hidden = !open;
  const figure = open && link && link.hidden && find(link.dataset.figure), image = figure && figure.querySelector("img");
  if (!image) return;
  const copy = new Image();
  copy.src = image.src;
  copy.alt = "Figure: " + image.alt;
  link.append(copy);
  link.hidden = false;
};
all(".open").forEach(button => button.addEventListener("click", () => unfold(button, button.getAttribute("aria-expanded") !== "true")));

let show = () => {}, reset = () => {};
if (table) {
  const heads = [...table.tHead.rows[0].cells], bodies = [...table.tBodies], controls = ["paper", "section", "verdict", "narrow", "kind"].map(find);
  const words = find("words"), texts = new Map(bodies.map(body => [body, body.textContent.toLowerCase()]));
  const key = (body, i) => body.rows[0].cells[i].dataset.sort;
  const order = (a, b) => isNaN(a) || isNaN(b) ? a.localeCompare(b) : a - b;
  heads.forEach((head, i) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending", blank = body => key(body, i) === "" ? 1 : 0;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    bodies.sort((a, b) => blank(a) - blank(b) || (down ? -1 : 1) * order(key(a, i), key(b, i)));
    table.append(...bodies);
  }));
  show = () => {
    const wanted = words.value.toLowerCase().split(/\s+/);
    bodies.forEach(body => { body.hidden = !(wanted.every(word => texts.get(body).includes(word))
      && controls.every(control => !control.value || body.dataset[control.id] === control.value)); });
    find("shown").textContent = `${bodies.filter(body => !body.hidden).length} of ${bodies.length} claims`;
  };
  reset = (chosen = {}) => {
    words.value = "";
    controls.forEach(control => { control.value = chosen[control.id] || ""; });
    show();
  };
  controls.forEach(control => control.addEventListener("input", show));
  words.addEventListener("input", () => {
    show();
    const top = table.getBoundingClientRect().top;
    if (top < 0 || top > innerHeight - 100) find("claims").scrollIntoView({ behavior: "instant" });
  });
  find("reset").addEventListener("click", () => reset());
  all("a[data-section]").forEach(link => link.addEventListener("click", () => reset(link.dataset)));
}

const reveal = () => {
  let target;
  try { target = find(decodeURIComponent(location.hash.slice(1))); } catch { return; }
  if (!target) return;
  all(".lit").forEach(other => other.classList.remove("lit"));
  if (target.matches("tbody, .card, .cell")) target.classList.add("lit");
  if (target.matches("tbody")) {
    if (target.hidden) reset();
    unfold(target.querySelector(".open"), true);
  }
  for (let above = target; above; above = above.parentElement) if (above.matches("details")) above.open = true;
  if (target.matches("[tabindex]")) target.focus({ preventScroll: true });
  else target.querySelector("button")?.focus({ preventScroll: true });
  target.scrollIntoView();
};
addEventListener("hashchange", reveal);
all('a[href^="#"]').forEach(link => link.addEventListener("click", () => {
  if (narrow.matches && contents.contains(link)) contents.open = false;
  if (link.getAttribute("href") === location.hash) setTimeout(reveal);
}));

const narrow = matchMedia("(max-width: 999px)");
const fit = () => { contents.open = !narrow.matches; };
narrow.addEventListener("change", fit);
fit();
addEventListener("keydown", event => {
  if (event.key !== "Escape" || !narrow.matches || !contents.open || dialog.open) return;
  contents.open = false;
  contents.firstElementChild.focus();
});
document.addEventListener("click", event => { if (narrow.matches && !contents.contains(event.target)) contents.open = false; });

const places = all("main h2[id], main h3[id]"), links = new Map(all("nav a").map(link => [link.hash.slice(1), link]));
const mark = () => {
  const above = places.filter(place => links.has(place.id) && place.getBoundingClientRect().top < innerHeight * .4).pop();
  links.forEach((link, id) => above && id === above.id ? link.setAttribute("aria-current", "location") : link.removeAttribute("aria-current"));
};
let waiting = 0;
addEventListener("scroll", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(mark); }, { passive: true });
mark();

all(".thumb").forEach(thumb => {
  const image = find(thumb.dataset.of)?.querySelector("img");
  if (image) { thumb.src = image.src; thumb.hidden = false; }
});
all(".card > button").forEach(button => button.addEventListener("click", () => {
  const image = button.firstElementChild;
  Object.assign(dialog.querySelector("img"), { src: image.src, alt: image.alt });
  dialog.querySelector("p").textContent = button.parentElement.querySelector("figcaption p").textContent;
  dialog.showModal();
}));
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });
if (navigator.clipboard) all(".copy").forEach(button => {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent);
    button.firstChild.textContent = "Copied";
  });
});
addEventListener("beforeprint", () => all("details").forEach(fold => { fold.open = true; }));
if (location.hash) reveal();
