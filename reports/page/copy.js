for (const block of document.querySelectorAll("[data-copy]")) {
  const button = document.createElement("button"), said = document.createElement("span");
  button.type = "button";
  button.className = "copy";
  button.textContent = block.dataset.copy;
  said.setAttribute("role", "status");
  block.before(button, said);
  button.addEventListener("click", async () => {
    const text = [...(block.querySelectorAll("p").length ? block.querySelectorAll("p") : [block])].map(p => p.textContent.trim()).join("\n\n");
    try {
      await navigator.clipboard.writeText(text);
      said.textContent = " copied";
    } catch {  // a browser that forbids it: mark the text, so that the keyboard can copy it
      getSelection().selectAllChildren(block);
      said.textContent = " marked: press Ctrl-C";
    }
  });
}
