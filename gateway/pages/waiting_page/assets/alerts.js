// Sound and notification: off until the person asks for them, since browsers want a click first.

/** Two short tones. */
function play(audio) {
  [660, 880].forEach((frequency, at) => {
    const tone = audio.createOscillator();
    const volume = audio.createGain();
    const start = audio.currentTime + at * 0.25;
    tone.frequency.value = frequency;
    volume.gain.setValueAtTime(0.2, start);
    volume.gain.exponentialRampToValueAtTime(0.001, start + 0.24);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + 0.25);
  });
}

/** Makes the two buttons work. Returns the function that alerts with a title and a text. */
export function alertsOf(notifyButton, soundButton) {
  let audio;
  let notifies = false;
  const press = (button, pressed) => button.setAttribute("aria-pressed", String(pressed));

  if (soundButton && globalThis.AudioContext) {
    soundButton.addEventListener("click", () => {
      if (audio) audio.close();
      audio = audio ? undefined : new AudioContext();
      if (audio) play(audio);
      press(soundButton, audio !== undefined);
    });
  } else soundButton?.remove();

  if (notifyButton && globalThis.Notification) {
    notifyButton.addEventListener("click", async () => {
      notifies = !notifies && (await Notification.requestPermission()) === "granted";
      press(notifyButton, notifies);
    });
  } else notifyButton?.remove();

  return (title, body) => {
    if (audio) play(audio);
    if (!notifies) return;
    try {
      new Notification(title, { body, tag: "queue" }).onclick = () => globalThis.focus();
    } catch {
      // Some browsers take notifications from service workers only.
    }
  };
}
