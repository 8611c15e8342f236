/** The activity map, in French. */
export default {
  "Time shown": "Durée montrée",
  "Last minute": "Dernière minute",
  "Last hour": "Dernière heure",
  "Last day": "Dernier jour",
  "No message in this time. Publish one, and its topic lights up:":
    "Aucun message pendant ce temps. Publiez-en un, et son sujet s'allume :",
  "Messages by topic and time": "Messages par sujet et par moment",
  "fewer": "moins",
  "more messages": "plus de messages",
  "all others": "tous les autres",
  "{topic}: {total} messages. Arrow keys read the slots.":
    "{topic} : {total} messages. Les flèches lisent les cases.",
  "{topic}, {time}: {number} messages": "{topic}, {time} : {number} messages",
};
