// What the page does beyond what it shows: tables can be searched, dots of the map name their clips, and one clip is
// heard at a time. Text from the data goes only where text goes, never into markup.
"use strict";

const rowsOf = (table) => [...document.querySelectorAll(`#${table} tbody tr`)];

// Tables: a row stays that holds all words, in any order, and is of the chosen kind.
for (const filter of document.querySelectorAll(".filter")) {
  const rows = rowsOf(filter.dataset.of);
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const words = filter.querySelector("input");
  const kind = filter.querySelector("select");
  const apply = () => {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chosen = rows.filter((row, index) => {
      const isKind = !kind?.value || row.dataset.kind === kind.value;
      row.hidden = !isKind || !wanted.every((word) => texts[index].includes(word));
      return !row.hidden;
    });
    const all = chosen.length === rows.length;
    filter.querySelector("output").textContent = all ? "" : `${chosen.length} of ${rows.length}`;
    if (filter.dataset.of === "sample") mark(all ? [] : chosen);
  };
  words.addEventListener("input", apply);
  kind?.addEventListener("change", apply);
  filter.hidden = false;
}

// Maps: a row's `data-at` holds its place "x y" in each plane, in the units of the drawings.
function mark(rows) {
  for (const view of document.querySelectorAll(".view")) {
    const drawing = view.querySelector("svg");
    let dots = drawing.querySelector(".chosen");
    if (!dots) {
      dots = document.createElementNS("http://www.w3.org/2000/svg", "path");
      dots.setAttribute("class", "chosen");
      drawing.append(dots);
    }
    dots.setAttribute("d", rows.map((row) => `M${row.dataset.at.split("|")[view.dataset.plane]}h0`).join(""));
  }
}

const note = document.querySelector(".pointed");
for (const view of document.querySelectorAll(".view")) {
  const drawing = view.querySelector("svg");
  const rows = rowsOf("sample");
  const places = rows.map((row) => row.dataset.at.split("|")[view.dataset.plane].split(" ").map(Number));
  const nearest = (event) => {
    const box = drawing.getBoundingClientRect();
    const scale = drawing.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let best = -1;
    let least = 12;  // units of the drawing: further away there is no dot
    places.forEach(([left, top], index) => {
      const distance = Math.hypot(left - x, top - y);
      if (distance < least) [least, best] = [distance, index];
    });
    return rows[best];
  };
  drawing.addEventListener("pointermove", (event) => {
    const row = nearest(event);
    if (row) note.textContent = row.cells[0].innerText;
  });
  drawing.addEventListener("click", (event) => {
    const row = nearest(event);
    const words = document.querySelector(".filter[data-of=sample] input");
    if (!row) return;
    words.value = row.querySelector("code").textContent;
    words.dispatchEvent(new Event("input"));
    words.scrollIntoView({block: "center"});
  });
}
if (note) note.hidden = false;

// Sound: a clip that begins stops the one before.
document.addEventListener("play", (event) => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
