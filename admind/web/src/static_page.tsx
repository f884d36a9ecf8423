// Help and error pages: their text is there without any script; this adds header, announcement and footer.
import { wearLastTheme } from './themes';
import { welcome } from './visitor';

wearLastTheme();
welcome().then(
  ({ site }) => {
    const about = document.getElementById('about');
    if (about) about.textContent = `${site.name} ${site.version}`;
  },
  () => undefined,  // what can be read stays readable
);
