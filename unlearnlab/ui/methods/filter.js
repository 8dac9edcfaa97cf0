(text) => {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const cards = [...document.querySelectorAll(".method")];
  for (const card of cards) {
    const source = card.querySelector("dd:last-of-type")?.textContent ?? "";
    const said = `${card.querySelector("h2").textContent} ${card.id} ${source}`.toLowerCase();
    card.hidden = !words.every((word) => said.includes(word));
  }
  document.getElementById("methods-none").hidden = cards.some((card) => !card.hidden);
}
