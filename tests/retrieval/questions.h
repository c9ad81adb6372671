/*
 * questions: validation questions behind the answerer's threshold. Those on the
 * licences are answered by the texts in common-licenses; the everyday ones by
 * neither the licences nor any simulated site.
 */
#ifndef TACIT_TESTS_RETRIEVAL_QUESTIONS_H
#define TACIT_TESTS_RETRIEVAL_QUESTIONS_H

/* Answered by the licence texts. */
static const char *const licence_questions[] = {
    "may I use the contributors' patents?",
    "Can I sell copies of the program for a fee?",
    "Must I provide the source code when I distribute binaries?",
    "What happens if I violate the license terms?",
    "Is there any warranty?",
    "May I remove the copyright notice?",
    "Can I link the library with proprietary software?",
    "Who may publish new versions of the license?",
    "How do I apply the Apache license to my work?",
    "What is a transparent copy of a document?",
    "Do I have to keep the invariant sections when I translate?",
    "Can I use the name of the university to promote my product?",
    "What happens when I sue a contributor for patent infringement?",
    "Which law governs the agreement?",
    "Can a minor change be dedicated to the public domain?",
    "Do I need to accept the license to run the program?",
    "Are anti-circumvention laws addressed?",
    "What does installation information mean?",
    "How long must I offer the source code by written offer?",
    "May I combine GPL code with code under the Affero license?",
};

/* Answered by none of the documents. */
static const char *const everyday_questions[] = {
    "What is the boiling point of tungsten?",
    "How do I renew my passport?",
    "Who won the football world cup in 1998?",
    "How many moons does Jupiter have?",
    "What is the capital of Mongolia?",
    "How do I bake a sourdough bread?",
    "When was the Eiffel Tower built?",
    "What is the best way to train a puppy?",
    "How do I change the oil in my car?",
    "Which chess opening should a beginner learn?",
    "What is the exchange rate of the yen?",
    "How do I plant tomatoes on a balcony?",
    "Who painted the Mona Lisa?",
    "How do I set up a wireless router at home?",
    "What time does the last train to the airport leave?",
    "How do I apply for a mortgage?",
    "What is the speed of light?",
    "Can I take liquids in hand luggage on a plane?",
    "How do I write a cover letter for a job?",
    "Which guitar strings are best for jazz?",
    "What is the tallest mountain in South America?",
    "How long does it take to fly to Sydney?",
    "How do I reset the password of my email account?",
    "What is the recipe for pancakes?",
    "When is the next solar eclipse?",
    "How do I sharpen a kitchen knife?",
    "Who wrote the novel Moby Dick?",
    "What is the population of Iceland?",
    "How do I file my income tax return?",
    "Where can I rent skis in the Alps?",
    "What are the rules of cricket?",
    "How do I compile the Linux kernel?",
    "What is the difference between a llama and an alpaca?",
    "How do I remove red wine from a carpet?",
    "Which planet has the longest day?",
    "How much does a dishwasher weigh?",
    "What is the meaning of the word serendipity?",
    "How do I tie a bow tie?",
    "Is there a bus to the beach on Sundays?",
    "How do I tune a piano?",
    "What was the cause of the first world war?",
    "How do I knit a scarf?",
    "What is quantum entanglement?",
    "Which wood is best for a garden fence?",
    "How do I learn Spanish quickly?",
    "How old is the universe?",
    "What is the largest desert in the world?",
    "How do I back up photos from my phone?",
    "Who discovered penicillin?",
    "What should I feed a hamster?",
    "How many players are in a basketball team?",
    "How do I clear snow from a driveway?",
    "What does a stock broker do?",
    "What is the melting point of gold?",
    "How do volcanoes form?",
    "Can I paint over wallpaper?",
    "Where do penguins live?",
    "How do I get a driving licence for a motorcycle?",
    "What is the plot of Hamlet?",
    "How do I start a vegetable compost heap?",
    "My flight was cancelled last night, who do I ring to get my money "
    "back?",
    "The car makes a grinding noise when I brake on a hill, is it safe to "
    "drive home?",
    "How long should I leave bread dough to rise before it goes in a hot "
    "oven?",
    "Our landlord wants to raise the rent twice this year, is he allowed "
    "to do that?",
    "Which bus goes from the old town to the football ground on a Sunday "
    "afternoon?",
    "The tomatoes on my balcony have yellow leaves, how often should I "
    "water them?",
    "How many goals did the national team score in the final of the last "
    "world cup?",
    "I forgot the password of my bank account, where can I get a new one?",
    "What should I wear to a summer wedding on the beach if it might rain?",
    "How do I get red wine out of a white carpet before the guests arrive?",
    "My dog barks at the neighbours all day, how can I train him to be "
    "quiet?",
    "Can I bring my own food and drink into the cinema on a weekday "
    "evening?",
    "How much paint do I need for two coats on a wall that is ten metres "
    "long?",
    "The washing machine stops in the middle of a cycle, what part should "
    "I replace?",
    "When does the ski season start, and which resort has the most snow in "
    "March?",
    "Who was the first woman to climb the highest mountain in the world?",
    "How do I teach my daughter to ride a bicycle without stabilisers in a "
    "weekend?",
    "What is the quickest way to learn the guitar if I can only practise "
    "at night?",
    "Can I plant potatoes next to strawberries or will they take each "
    "other's light?",
    "How far is it from Paris to Berlin by train and how much does a "
    "ticket cost?",
    "The printer in my study prints blank pages, should I buy a new "
    "cartridge?",
    "Which films won the most prizes at the festival in Venice last "
    "September?",
    "How old do you have to be to rent a car in New Zealand?",
    "My sourdough starter smells of vinegar and has grey water on top, is "
    "it dead?",
    "What documents do I need to sell my house without an estate agent?",
    "How do I stop the cat from scratching the new sofa in the living room?",
    "Is it cheaper to heat a small flat with electricity or with gas in "
    "winter?",
    "How can I see whether my telescope is strong enough for the rings of "
    "Saturn?",
    "What is the best month to see whales off the coast of Norway?",
    "The chain of my bike keeps falling off when I change gear, what is "
    "wrong?",
    "Where do I vote if I moved to another town two weeks before the "
    "election?",
    "How do I make the text larger on my television without losing the "
    "picture?",
    "Which spices go into a good curry and in what order do I fry them?",
    "How many miles can an electric van drive in the cold with a full load?",
    "What time do the shops close on Christmas Eve in the city centre?",
    "Who wrote the music for the old film about the sinking ship?",
    "Can I claim a new desk on my tax return if I work at home two days a "
    "week?",
    "How long does it take for concrete to set before I can build a shed "
    "on it?",
    "My neighbour's tree hangs over my fence, may I cut the branches back?",
    "What is the right way to fold a paper plane that flies more than ten "
    "metres?",
    "How do I move all my photos from an old phone to a new one without a "
    "cable?",
    "Which chess opening should I play against somebody who always attacks "
    "early?",
    "How deep do I need to dig a pond so that the fish survive a hard "
    "winter?",
    "What is the difference between a violin and a viola when you hear "
    "them?",
    "How do I choose the right size of running shoes for a long race?",
    "Are there any free museums near the river that are open on Monday?",
    "How much flour do I add if the pancake batter is too thin?",
    "How do I get a parking permit for a visitor who stays one week?",
    "What happens to the stars when a galaxy runs into another one?",
    "Which language is spoken by the most people on the islands of "
    "Indonesia?",
    "The shower drips all night although I turned the tap off, which "
    "washer fits?",
    "How did the Romans bring water to cities that lay far from any river?",
    "Can two people share one season ticket for the swimming pool?",
    "How do I write a speech for the birthday of a colleague I hardly know?",
    "What is the safest way to store a wooden boat over the winter?",
    "Why do leaves turn red in autumn in some countries and brown in "
    "others?",
    "How many players may a handball team change during one half of a "
    "match?",
    "How do I split the bill fairly when four friends share a holiday home?",
    "What was the name of the ship on which Darwin sailed round the world?",
    "Which key do I press to turn the camera off during a video call?",
};

enum {
    N_LICENCE_QUESTIONS = sizeof licence_questions / sizeof *licence_questions,
    N_EVERYDAY_QUESTIONS =
        sizeof everyday_questions / sizeof *everyday_questions
};

#endif
