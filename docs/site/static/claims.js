"use strict";
// Filters of the table of claims: words, paper, verdict, kind. Without JavaScript the whole table is shown.
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".claims-filter");
  if (!form) return;
  const rows = [...document.querySelectorAll("table.claims tbody tr")], count = form.querySelector("output");
  const texts = new Map(rows.map(row => [row, row.textContent.toLowerCase()]));
  const show = () => {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = ["paper", "verdict", "kind"].filter(name => form.elements[name].value);
    const fits = row => wanted.every(name => row.dataset[name].split(" ").includes(form.elements[name].value))
      && words.every(word => texts.get(row).includes(word));
    rows.forEach(row => { row.hidden = !fits(row); });
    count.textContent = `${rows.filter(row => !row.hidden).length} of ${rows.length} rows`;
  };
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", event => event.preventDefault());
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) form.elements.kind.value = "claim";
  show();
  if (target) target.scrollIntoView();
});
