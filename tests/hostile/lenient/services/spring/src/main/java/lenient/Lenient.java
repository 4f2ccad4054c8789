package lenient;

import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.SpringBootApplication;
import org.springframework.boot.web.servlet.context.ServletWebServerInitializedEvent;
import org.springframework.context.event.EventListener;
import org.springframework.util.AntPathMatcher;
import org.springframework.web.bind.annotation.PathVariable;
import org.springframework.web.bind.annotation.PostMapping;
import org.springframework.web.bind.annotation.RestController;
import org.springframework.web.servlet.config.annotation.PathMatchConfigurer;
import org.springframework.web.servlet.config.annotation.WebMvcConfigurer;

/** Spring MVC with everything switched on that makes its matching lenient. */
@SpringBootApplication
@RestController
public class Lenient implements WebMvcConfigurer {
    public static void main(String[] arguments) {
        SpringApplication.run(Lenient.class, arguments);
    }

    @EventListener
    public void ready(ServletWebServerInitializedEvent event) {
        System.out.println("ready " + event.getWebServer().getPort());
    }

    @Override
    @SuppressWarnings("deprecation")
    public void configurePathMatch(PathMatchConfigurer configurer) {
        AntPathMatcher matcher = new AntPathMatcher();
        matcher.setCaseSensitive(false);
        matcher.setTrimTokens(true);
        configurer.setPathMatcher(matcher);
        configurer.setUseSuffixPatternMatch(true);
        configurer.setUseTrailingSlashMatch(true);
    }

    @PostMapping("/api/v1/reservations")
    public String reserve() {
        return "reserved";
    }

    @PostMapping("/api/v1/reservations/{id}/pay")
    public String pay(@PathVariable String id) {
        return "paid";
    }
}
