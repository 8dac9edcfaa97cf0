// A tour of six steps in a corner of the page: nothing is blocked, it can be left at any step, and
// the browser remembers the step. Runs behind header.js in the same function body.
const STEPS = [
  {
    at: "#f-preset",
    title: "Choose an experiment",
    text: "A preset sets model, method, layers and rates. The first one is quick and forgets well.",
  },
  {
    at: "#f-data-source",
    title: "Choose what to forget",
    text: "Invented people and stories come with the program. Your own rows and facts are added on the Data tab.",
  },
  {
    at: "#unlearn",
    title: "Press Unlearn",
    text: "It runs in the background: you can pause it, stop it, or leave the page and come back.",
  },
  {
    at: '#live [data-part="chart"]',
    title: "Watch the loss",
    text: "The loss of what should be forgotten rises; that of what should stay keeps low.",
  },
  {
    at: '#live [data-part="says"]',
    title: "Read what it says",
    text: "The same prompts go to the original and to the unlearned model. Ask your own as well, also while it trains.",
  },
  {
    at: "#scoreboard",
    title: "Judge it",
    text: "Forgotten is not enough: what must stay has to stay, and the documents should no longer be detectable.",
  },
];
const TOUR = "unlearnlab-tour";
const tour = element.querySelector(".tour");
let at = -1;

function remembered() {
  const step = Number(localStorage.getItem(TOUR));
  return Number.isInteger(step) && step > 0 && step < STEPS.length ? step : 0;
}

function target(step) {
  const found = [...document.querySelectorAll(STEPS[step].at)];
  return found.find((one) => one.offsetParent !== null && one.offsetHeight > 0);
}

function turnTo(step) {
  document.querySelector(".tour-target")?.classList.remove("tour-target");
  at = step;
  tour.hidden = step < 0;
  if (step < 0) return;
  localStorage.setItem(TOUR, String(step));
  document.getElementById("tab-unlearn-button")?.click();
  tour.querySelector('[data-tour="back"]').setAttribute("aria-disabled", String(step === 0));
  write(tour.querySelector('[data-tour="next"]'), step + 1 < STEPS.length ? "Next" : "Done");
  write(tour.querySelector("small"), `${step + 1} of ${STEPS.length}`);
  write(tour.querySelector("b"), STEPS[step].title);
  // The tab may be drawn only now.
  requestAnimationFrame(() => at === step && pointAt(step));
}

function pointAt(step) {
  const there = target(step);
  const { text } = STEPS[step];
  write(tour.querySelector("p"), there ? text : `${text} It appears here once a run is shown.`);
  there?.classList.add("tour-target");
  there?.scrollIntoView({ block: "center" });
}

function leave(next = at) {
  localStorage.setItem(TOUR, String(next));
  turnTo(-1);
  element.querySelector("#tour").focus();
}

element.querySelector("#tour").addEventListener("click", () => {
  if (at >= 0) return leave();
  turnTo(remembered());
  tour.querySelector('[data-tour="next"]').focus();
});
tour.addEventListener("click", ({ target: pressed }) => {
  const way = pressed.dataset.tour;
  if (way === "back") turnTo(Math.max(0, at - 1));
  if (way === "next") at + 1 < STEPS.length ? turnTo(at + 1) : leave(0);
  if (way === "leave") leave();
});
document.addEventListener("keydown", ({ key }) => {
  if (key === "Escape" && at >= 0) leave();
});
