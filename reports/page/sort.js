for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const number = row => { const cell = row.cells[column]; return "value" in cell.dataset ? +cell.dataset.value : NaN; };
      const words = row => row.cells[column].textContent;
      const turn = down ? -1 : 1;
      const measured = [...body.rows].some(row => !Number.isNaN(number(row)));
      body.append(...[...body.rows].sort((a, b) => {
        const x = number(a), y = number(b);
        if (!measured) return turn * words(a).localeCompare(words(b), undefined, { numeric: true });
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);  // gaps stay last
        return turn * (x - y);
      }));
    });
  });
}
