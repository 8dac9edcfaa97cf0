// Asks the server again and again. Stands after dom.js and before the script of a card.

const ANSWER_MS = 10000;
const SLOWEST_MS = 5000;

// After a laptop slept, a request may stay open for ever: it must not hold up the next one.
function inTime(answer, patience) {
  const late = new Promise((_, refuse) => setTimeout(() => refuse(new Error("late")), patience));
  return Promise.race([answer, late]);
}

// Returns an answer that has one of the keys; throws where it has none or says what is wrong.
function answered(answer, keys = []) {
  if (answer?.problem) throw new Error(answer.problem, { cause: "server" });
  const whole = keys.length === 0 || keys.some((key) => answer?.[key] !== undefined);
  if (!answer || !whole) throw new Error("no answer");
  return answer;
}

// Another program at this address may have no card of this number: all it answers is an error.
// One that knows no longer who has logged in answers 401 to all, and the page has to ask anew.
async function outlived() {
  const { app_id, root } = window.gradio_config;
  const answer = await inTime(fetch(`${root ?? ""}/gradio_api/app_id`), ANSWER_MS);
  if (answer.status === 401) return true;
  return answer.ok && (await answer.json()).app_id !== app_id;
}

function problemOf(error) {
  return error.cause === "server" ? error.message : "The server did not answer: it may have ended.";
}

// Runs requests of one kind: returns the answer of the latest, undefined for one overtaken.
function latest(patience = ANSWER_MS) {
  let number = 0;
  return async (request) => {
    const mine = ++number;
    try {
      const answer = await inTime(request, patience);
      if (mine === number) return answer;
    } catch (error) {
      if (mine === number) throw error;
    }
  };
}

// Polls while the page is visible and `seen()`: slower while the server fails, and the latest
// request wins. Returns what asks at once.
//   request()  asks the server; its answer needs one of the keys `needs`.
//   take(answer)  shows an answer.
//   always()  whether to ask even so, for an end that is to be told.
//   pace()  milliseconds until the next request.
//   lost  what a reader needs to know while the connection is lost.
//   told(text)  shows what is wrong, or "".
//   patience  milliseconds that an answer may take.
function poll({ request, take, pace, seen, needs, always = () => false, lost = "", told = tellLost, patience }) {
  const newest = latest(patience);
  let timer = null;
  let failures = 0;
  let gone = 0;
  let rounds = 0;
  let next = null;

  async function round() {
    clearTimeout(timer);
    // Gradio may take a card out and put it back; once it is gone for good, so is the asking.
    gone = element.isConnected ? 0 : gone + 1;
    if (gone > 20) return;
    const mine = ++rounds;
    try {
      if ((document.visibilityState === "visible" && seen()) || always()) {
        const answer = await newest(request());
        if (mine !== rounds) return;
        take(answered(answer, needs));
      }
      failures = 0;
      told("");
    } catch (error) {
      if (error.cause !== "server" && (await outlived().catch(() => false)))
        return location.reload();
      if (mine !== rounds) return;
      failures += 1;
      const problem = error.cause === "server" && error.message.replace(/\.$/, "");
      told(problem ? `${problem}. Retrying.` : `Connection lost, retrying. ${lost}`.trim());
    }
    if (mine !== rounds) return;
    timer = setTimeout(round, failures ? Math.min(SLOWEST_MS, pace() * 2 ** failures) : pace());
  }

  // Not at once: the script may still be at its first lines, and more may be asked for.
  function soon() {
    next ??= Promise.resolve().then(() => {
      next = null;
      return round();
    });
    return next;
  }

  document.addEventListener("visibilitychange", soon);
  soon();
  return soon;
}

function tellLost(text) {
  write(part("lost"), text);
  show("lost", Boolean(text));
}
