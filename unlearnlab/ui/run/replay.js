// The bar of a replay. Runs after live.js, in the same body: it shares its names.
const bar = part("replay");

function fillReplay(replay) {
  const going = replay.take > 0;
  show("badge", going);
  write(part("badge"), replay.held ? "Replay paused" : "Replay");
  bar.hidden = !replay.offered;
  bar.classList.toggle("going", going);
  write(part("replay-said"), going ? replay.said : "this run as it went");
  write(part("replay-hold"), replay.held ? "Resume" : "Pause");
  show("replay-hold", going);
  show("replay-end", going);
  press(
    bar.querySelectorAll(".segments button"),
    (one) => going && one.textContent === replay.pace,
  );
}

async function askReplay(action, pace = {}) {
  const call = server.replay_run({ run, action, ...pace });
  const { problem } = await call.catch((error) => ({ problem: problemOf(error) }));
  write(part("replay-problem"), problem);
  show("replay-problem", Boolean(problem));
  soon();
}

bar.addEventListener("click", (event) => {
  const pressed = event.target.closest("button");
  const going = last?.replay?.take > 0;
  if (!pressed) return;
  if (pressed === part("replay-hold")) askReplay(last?.replay?.held ? "resume" : "hold");
  else if (pressed === part("replay-end")) askReplay("end");
  else askReplay(going ? "pace" : "start", { ...pressed.dataset });
});
